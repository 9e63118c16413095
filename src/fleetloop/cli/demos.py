"""`fleetloop demos`: demonstrations to start from."""

from pathlib import Path
from typing import Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads

EXAMPLES = flags.examples(
    "fleetloop demos record --tasks restock/shelf --episodes 40",
    "fleetloop demos record --tasks restock/shelf=60,laundry/fold=20 --noise 0.01 --out demonstrations",
)
app = typer.Typer(no_args_is_help=True, help="Record demonstrations with the robots' own experts.")


@app.callback()
def demos() -> None:
    """Record demonstrations with the robots' own experts."""


@app.command(epilog=EXAMPLES)
def record(
    config: flags.Config = None,
    sets: flags.Sets = None,
    tasks: flags.Tasks = None,
    episodes: Annotated[int, typer.Option(min=1, help="Demonstrations of each task that gives no number.")] = 30,
    out: Annotated[Path | None, typer.Option(help="Where they are written, sealed.", show_default=False)] = None,
    site: Annotated[
        int, typer.Option(min=0, help="Number of the site; a simulated one is drawn from it, 0 is nominal.")
    ] = 0,
    noise: Annotated[
        float | None,
        typer.Option(min=0, max=0.05, help="Simulated robots: actuation noise in metres; by default none."),
    ] = None,
    disturb: Annotated[
        bool | None,
        typer.Option("--disturb/--calm", help="Simulated robots: nudge, knock, start at random; by default calm."),
    ] = None,
    seed: flags.Seed = 0,
    processes: flags.Processes = None,
) -> None:
    """Let the robots' own experts (they are privileged) do the tasks, and keep what succeeds as episodes."""
    limit_threads()
    from fleetloop.cli import wiring
    from fleetloop.cli.config import load_config

    given = {"directories.demonstrations": out, "tasks": flags.split(tasks, "--tasks")}
    chosen = load_config(config, sets or (), given)
    from fleetloop.cli.progress import counting
    from fleetloop.lab.demonstrations import record_demonstrations

    counts = _counts(chosen.tasks, episodes)
    tasks_to_do = wiring.tasks_named(chosen, counts)
    robot = wiring.robot_kind(chosen)
    if robot.name == "sim":  # whatever happens to the fleet: demonstrations are calm unless the flags say otherwise
        robot = wiring.disturbed(robot, bool(disturb), noise or 0.0)
    else:
        robot = wiring.disturbed(robot, disturb, noise)
    with counting("recording", sum(counts.values())) as progress:
        frames = record_demonstrations(
            chosen.directories.demonstrations,
            dict(zip(tasks_to_do, counts.values(), strict=True)),
            robot,
            judge=wiring.judge_kind(chosen),
            site=site,
            seed=seed,
            processes=processes,
            progress=progress,
        )
    typer.echo(f"{chosen.directories.demonstrations}: {sum(counts.values())} demonstrations, {frames} frames")


def _counts(tasks: tuple[str, ...], episodes: int) -> dict[str, int]:
    from fleetloop.core.errors import ConfigInvalid

    counts = {}
    for entry in tasks:
        task, equals, number = entry.partition("=")
        if equals and not (number.isdecimal() and int(number)):
            raise ConfigInvalid("--tasks", f"{entry!r} has no number after the =", "write it as restock/shelf=60")
        counts[task] = int(number) if equals else episodes
    return counts
