"""`fleetloop demo`: the command."""

from pathlib import Path
from typing import Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads

EXAMPLES = flags.examples(
    "fleetloop demo                                   three tasks, four robots, a few minutes",
    "fleetloop demo --minutes 1 --tasks restock/shelf    a quick look",
    "fleetloop demo --tasks all --minutes 60 --report all.json",
)
TASKS = "restock/shelf,laundry/fold,box/walls"


def demo(
    directory: Annotated[
        Path, typer.Option(help="Where everything is kept. What an earlier demo left there is removed.")
    ] = Path("demo"),
    tasks: Annotated[str, typer.Option(help="Comma-separated, or `all`.")] = TASKS,
    robots: Annotated[int, typer.Option(min=1, max=64, help="How many, at sites 1 to 4 in turn.")] = 4,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the fleet works, by its own clock.")] = 10.0,
    seed: flags.Seed = 0,
    speed: Annotated[
        float, typer.Option(min=1.0, help="How much faster than real time to begin with; adapted to the machine.")
    ] = 6.0,
    real_time: Annotated[bool, typer.Option("--real-time", help="Run the fleet at a robot's own pace.")] = False,
    observe: Annotated[
        str, typer.Option(help="What the policy sees: state (privileged, quick) or images (needs GL, slow).")
    ] = "state",
    report: Annotated[Path | None, typer.Option(help="Write the report here too.", show_default=False)] = None,
    view: Annotated[bool, typer.Option("--view/--no-view", help="Show the fleet live, on a terminal.")] = True,
) -> None:
    """See it work: a simulated fleet works, fails, is corrected, and becomes better while it works."""
    limit_threads()
    from fleetloop.cli import tables
    from fleetloop.cli.demo.plan import DemoPlan
    from fleetloop.cli.demo.run import run_demo
    from fleetloop.cli.demo.summary import summary
    from fleetloop.cli.demo.view import LiveView, PlainView
    from fleetloop.core.clock import Wall
    from fleetloop.core.disk import check_writable
    from fleetloop.core.errors import ConfigInvalid
    from fleetloop.sim.tasks import SIM_TASKS, sim_task

    if observe not in ("state", "images"):
        raise ConfigInvalid("--observe", f"is {observe!r}", "use state or images")
    named = tuple(SIM_TASKS) if tasks == "all" else tuple(dict.fromkeys(flags.split(tasks, "--tasks") or ()))
    for task in named:
        sim_task(task)
    if report is not None:
        check_writable(report)
    plan = DemoPlan(directory.resolve(), named, robots, minutes, seed, speed, real_time, observe)
    console = tables.console()
    live = view and console.is_terminal
    done = run_demo(plan, LiveView(console) if live else PlainView(console, Wall()))
    if report is not None:
        flags.write_text(report, (plan.directory / "report.json").read_text())
    console.print(summary(done, directory), highlight=False)
