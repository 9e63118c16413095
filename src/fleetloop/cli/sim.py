"""`fleetloop sim`: the simulated tasks, their experts, and a look at them."""

from pathlib import Path
from typing import Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads

app = typer.Typer(no_args_is_help=True, help="Look at the simulated tasks and measure their experts.")
BARS = {"restock": 0.97, "box": 0.97, "laundry": 0.93}
"""The success rate that a family's expert must reach."""


@app.command(
    epilog=flags.examples(
        "fleetloop sim experts --episodes 200",
        "fleetloop sim experts --tasks restock/shelf --sites 0,1,2,3,4",
    )
)
def experts(
    tasks: flags.Tasks = None,
    sites: Annotated[str, typer.Option(help="Comma-separated seeds of sites.")] = "0,1,2,3,4",
    episodes: Annotated[int, typer.Option(min=1, help="Fresh resets of each task, over all sites.")] = 200,
    seed: flags.Seed = 0,
    processes: flags.Processes = None,
) -> None:
    """Measure the scripted experts over disturbed and noisy resets, beside the bar that they must reach."""
    limit_threads()
    from rich.text import Text

    from fleetloop.cli import tables
    from fleetloop.cli.progress import counting
    from fleetloop.core.robot import RobotKind
    from fleetloop.lab.evaluation import evaluate, scores
    from fleetloop.sim.plugin import SimOptions
    from fleetloop.sim.scene import DISTURBED
    from fleetloop.sim.tasks import SIM_TASKS

    chosen = flags.split(tasks, "--tasks") or tuple(SIM_TASKS)
    robot = RobotKind("sim", SimOptions.under(DISTURBED))
    todo = [robot.task(task) for task in chosen]
    with counting("measuring experts", episodes * len(chosen)) as progress:
        results = evaluate(
            None,
            todo,
            flags.numbers(sites, "--sites"),
            episodes,
            robot=robot,
            seed=seed,
            processes=processes,
            progress=progress,
        )
    rows = tables.table(
        "task",
        "success",
        "95 % interval",
        "bar",
        "steps (mean)",
        "p95",
        "limit",
        "steps/s/core",
        title=f"scripted experts (privileged), {episodes} disturbed and noisy resets each",
    )
    for task, score in scores(results).items():
        limit = SIM_TASKS[task].task.time_limit_s * 20
        bar = BARS[SIM_TASKS[task].task.family]
        rows.add_row(
            task,
            Text(f"{score.rate:.3f}", "green" if score.rate >= bar else "red"),
            f"{score.low:.3f}–{score.high:.3f}",
            f"{bar:.2f}",
            tables.rounded(score.ticks_mean),
            tables.rounded(score.ticks_p95),
            f"{limit:.0f}",
            f"{score.ticks_per_cpu_s:.0f}",
        )
    tables.show(rows)


@app.command(
    epilog=flags.examples(
        "fleetloop sim view restock/shelf --out shelf.mp4",
        "fleetloop sim view laundry/fold --base base --site 2 --out fold.gif",
    )
)
def view(
    task: Annotated[str, typer.Argument(help="E.g. restock/shelf.")],
    out: Annotated[Path, typer.Option(help="The film: FILE.mp4 or FILE.gif.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    release: flags.ReleaseVersion = None,
    base: flags.BaseDirectory = None,
    site: Annotated[int, typer.Option(min=0, help="Seed of the simulated site; 0 is the nominal one.")] = 0,
    seed: flags.Seed = 0,
    disturb: Annotated[bool, typer.Option("--disturb/--calm", help="Nudge items and knock grippers.")] = False,
    px: Annotated[int, typer.Option(min=32, max=640, help="Edge of the picture in pixels.")] = 320,
    cameras: Annotated[str, typer.Option(help="Side by side: front, overhead, wrist_L, wrist_R.")] = "front",
) -> None:
    """Film the scripted expert, or a policy, at a task."""
    limit_threads()
    from fleetloop.cli.config import load_config

    chosen = load_config(config, sets or (), {"hub_url": hub})
    from fleetloop.cli.film import film
    from fleetloop.cli.measured import named_candidate

    candidate = None if release is None and base is None else named_candidate(chosen, release=release, base=base)
    told, success = film(
        task,
        candidate,
        out,
        options=chosen.actor,
        site=site,
        seed=seed,
        disturb=disturb,
        px=px,
        cameras=flags.split(cameras, "--cameras") or (),
    )
    typer.echo(f"{out}: “{told}”, {'success' if success else 'no success'}")
