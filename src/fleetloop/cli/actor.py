"""`fleetloop actor`: one robot, as a process in the foreground."""

from contextlib import closing
from typing import Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads

EXAMPLES = flags.examples(
    "fleetloop actor --robot robot-1",
    "fleetloop actor --robot robot-9 --site 3 --tasks restock/shelf --operator none",
    "fleetloop actor --robot robot-1 --operator keyboard      take over and drive by hand",
    "fleetloop actor --robot robot-1 --evaluate               measure the release that it is pinned to",
)


def actor(
    robot: Annotated[str, typer.Option(help="Its name; a robot of the configuration, or a new one with --site.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    home: flags.Home = None,
    site: Annotated[
        int | None,
        typer.Option(
            min=0, help="Number of the site; a simulated one is drawn from it, 0 is nominal.", show_default=False
        ),
    ] = None,
    tasks: flags.Tasks = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of its resets and of its policy's noise.", show_default=False)
    ] = None,
    disturb: Annotated[
        bool | None,
        typer.Option("--disturb/--calm", help="Simulated robots: nudge items and knock grippers.", show_default=False),
    ] = None,
    operator: Annotated[
        str | None, typer.Option(help="Who watches: scripted, keyboard, marks, none, or a plug-in.", show_default=False)
    ] = None,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate", help="Its episodes measure: nobody learns from them, nothing is explored."),
    ] = False,
    clock_file: flags.ClockFile = None,
) -> None:
    """Drive one robot: episode after episode, with the newest release.

    It waits for a first release, and it needs a courier on the same --home to receive one.
    """
    from fleetloop.cli.config import load_config

    flags.log_to_terminal()
    given = {
        "directories.home": home,
        "seed": seed,
        "clock.file": clock_file,
        "operator.name": operator,
    }
    chosen = load_config(config, sets or (), given)
    limit_threads(chosen.actor.threads)
    from fleetloop.actor.run import run_actor, sole_driver
    from fleetloop.cli import wiring
    from fleetloop.core.disk import RealDisk
    from fleetloop.core.host import HostDirectory
    from fleetloop.core.task import Site

    entry = chosen.member(robot, new_at=site)
    todo = flags.split(tasks, "--tasks") or entry.tasks or chosen.tasks
    assignment = wiring.assignment(chosen, robot, entry.site, todo, "evaluation" if evaluate else "online")
    clock, disk = wiring.clock_from(chosen.clock.file), RealDisk()
    kind = wiring.disturbed(wiring.robot_kind(chosen, entry), disturb)
    host = HostDirectory(chosen.directories.home, disk)
    with (
        sole_driver(host, robot),
        closing(kind.build(clock, Site.simulated(entry.site))) as body,
        wiring.operator_at(chosen.operator, body) as watching,
    ):
        run_actor(
            assignment,
            body,
            watching,
            wiring.judge_kind(chosen).build(body),
            host=host,
            disk=disk,
            clock=clock,
            load_policy=wiring.build_policy_loader(),
            options=chosen.actor.measuring() if evaluate else chosen.actor,
            trust=wiring.trust_of(chosen),
        )
