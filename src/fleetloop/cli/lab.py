"""`fleetloop lab`: the experiments that show what each part is worth, in virtual time."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads
from fleetloop.core.errors import ConfigInvalid

if TYPE_CHECKING:
    from fleetloop.lab.job import Job

RESULTS, CACHE = Path("docs/results/lab"), Path("build/lab")
EXAMPLES = flags.examples(
    "fleetloop lab run main --seeds 3                  all arms, three seeds; what is done already is skipped",
    "fleetloop lab run main --arms pretrained,fleet-hg-dagger --minutes 10",
    "fleetloop lab run sampler --quick                 the same in seconds: it shows that everything works",
)
app = typer.Typer(no_args_is_help=True, help="Experiments in virtual time: run them, see what is done, report.")

Name = Annotated[str, typer.Argument(help="One of those that `fleetloop lab ls` shows.", show_default=False)]
Results = Annotated[Path, typer.Option(help="Where results are kept, a directory per experiment.")]
Cached = Annotated[Path, typer.Option(help="What jobs share: demonstrations, bases, logs. It can be deleted.")]
Seeds = Annotated[int, typer.Option(min=1, help="So many: 0, 1, … Resets of evaluations are the same for all.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        help="Of the fleet's clock, in place of the experiment's; kept apart, in the cache.",
        show_default=False,
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Small enough for a test; kept apart, in the cache.")]


@app.callback()
def lab() -> None:
    """Experiments in virtual time: run them, see what is done, report."""


@app.command(epilog=EXAMPLES)
def run(
    name: Name,
    seeds: Seeds = 3,
    arms: Annotated[
        str | None, typer.Option(help="Comma-separated; by default all of the experiment's.", show_default=False)
    ] = None,
    minutes: Minutes = None,
    quick: Quick = False,
    processes: flags.Processes = None,
    results: Results = RESULTS,
    cache: Cached = CACHE,
) -> None:
    """Run what is not done yet of an experiment. Each arm under each seed is a job that is kept when it is done."""
    limit_threads()
    from fleetloop.core.clock import Wall
    from fleetloop.lab.runner import run_jobs

    jobs = _jobs(name, seeds, arms=arms, minutes=minutes, quick=quick, results=results, cache=cache)
    clock = Wall()
    began = clock.now()

    def say(line: str) -> None:
        typer.echo(f"{clock.now() - began:7.0f} s  {line}", err=True)

    undone = run_jobs(jobs, processes, say)
    if undone:
        typer.secho(f"fleetloop: {len(undone)} of {len(jobs)} jobs are not done", fg="red", err=True)
        raise typer.Exit(1)


@app.command(epilog=flags.examples("fleetloop lab ls", "fleetloop lab ls --seeds 1 --quick"))
def ls(
    seeds: Seeds = 3,
    minutes: Minutes = None,
    quick: Quick = False,
    results: Results = RESULTS,
    cache: Cached = CACHE,
) -> None:
    """Show which jobs are done."""
    from fleetloop.cli import tables
    from fleetloop.core.errors import PluginBroken
    from fleetloop.lab.experiments import names

    rows = tables.table("experiment", "arm", "done", "not yet")
    for name in names():
        try:
            jobs = _jobs(name, seeds, minutes=minutes, quick=quick, results=results, cache=cache)
        except PluginBroken as error:  # another package's: all others are shown
            typer.secho(f"fleetloop: {error}", fg="red", err=True)
            continue
        for arm in dict.fromkeys(job.arm for job in jobs):
            mine = [job for job in jobs if job.arm == arm]
            done, left = (" ".join(str(job.seed) for job in mine if job.done is state) for state in (True, False))
            rows.add_row(name, arm, done, left)
    tables.show(rows)


@app.command(epilog=flags.examples("fleetloop lab report", "fleetloop lab report main"))
def report(
    name: Annotated[str | None, typer.Argument(help="An experiment; by default all.", show_default=False)] = None,
    minutes: Minutes = None,
    quick: Quick = False,
    results: Results = RESULTS,
    cache: Cached = CACHE,
) -> None:
    """Write tables and plots from the results that are there, and the reference's figures beside them."""
    from fleetloop.core.errors import PluginBroken
    from fleetloop.lab.comparison import write_comparison
    from fleetloop.lab.experiments import experiment, names
    from fleetloop.lab.report import write_report

    place, broken = _place(quick, minutes, results, cache), list[ConfigInvalid | PluginBroken]()
    for one in [name] if name else names():
        try:
            page = write_report(experiment(one), place)
            typer.echo(str(page) if page else f"{one}: no result in {place / one}")
        except (ConfigInvalid, PluginBroken) as error:  # one experiment's: the others' pages are written all the same
            broken.append(error)
    for other in broken[1:]:
        typer.secho(f"fleetloop: {other}", fg="red", err=True)
    page = results.parent / "README.md"
    whole = not any(isinstance(error, ConfigInvalid) for error in broken)
    if whole and place == results and write_comparison(place, page):
        typer.echo(str(page))
    if broken:
        raise broken[0]


@app.command(
    epilog=flags.examples(
        "fleetloop lab chaos --minutes 2 --kills 12", "fleetloop lab chaos --minutes 30 --kills 220 --report chaos.json"
    )
)
def chaos(
    minutes: Annotated[float, typer.Option(min=0.2, help="Real ones, for which it is maltreated.")] = 2.0,
    kills: Annotated[int, typer.Option(min=0, help="Processes killed with -9 in that time.")] = 12,
    robots: Annotated[int, typer.Option(min=1, max=8, help="Simulated ones.")] = 3,
    seed: flags.Seed = 0,
    directory: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path("chaos"),
    report: Annotated[
        Path | None, typer.Option(help="Also write the counts here, as JSON.", show_default=False)
    ] = None,
) -> None:
    """Maltreat a real fleet, and count what it kept: kill -9, a network that is cut, slow or lossy, a full disk.

    Everything is on this machine. Ends with 1 if an episode was lost, shortened, refused, stored twice, or
    damaged.
    """
    import json

    limit_threads()
    from fleetloop.cli.chaos.count import broken
    from fleetloop.cli.chaos.plan import ChaosPlan
    from fleetloop.cli.chaos.run import run_chaos

    plan = ChaosPlan(directory.resolve(), minutes, kills, robots, seed)
    found = run_chaos(plan, lambda line: typer.echo(f"  {line} …", err=True))
    command = f"fleetloop lab chaos --minutes {minutes:g} --kills {kills} --robots {robots} --seed {seed}"
    text = json.dumps({**found, "command": command}, indent=1)
    typer.echo(text)
    if report:
        report.write_text(text + "\n")
    if problem := broken(found):
        typer.secho(f"fleetloop: {problem}", fg="red", err=True)
        raise typer.Exit(1)


def _jobs(
    name: str,
    seeds: int,
    *,
    arms: str | None = None,
    minutes: float | None = None,
    quick: bool,
    results: Path,
    cache: Path,
) -> "list[Job]":
    """Seed by seed, so that a run that is stopped early leaves whole comparisons."""
    from fleetloop.core.errors import UnknownName
    from fleetloop.lab.experiments import experiment
    from fleetloop.lab.job import Job

    known = [arm.name for arm in experiment(name).arms]
    wanted = list(flags.split(arms, "--arms") or known)
    if strange := [arm for arm in wanted if arm not in known]:
        raise UnknownName(f"--arms {strange[0]}", f"is no arm of {name}", f"known: {', '.join(known)}")
    place = _place(quick, minutes, results, cache).resolve() / name
    chosen = [arm for arm in known if arm in wanted]
    return [Job(name, arm, seed, place, cache.resolve(), quick, minutes) for seed in range(seeds) for arm in chosen]


def _place(quick: bool, minutes: float | None, results: Path, cache: Path) -> Path:
    """Only what was run in earnest is among the results."""
    if quick or minutes is not None:
        return cache / ("quick" * quick + (f"{minutes:g}-minutes" if minutes is not None else ""))
    return results
