"""`fleetloop hub`: the meeting place, as a process in the foreground."""

from pathlib import Path
from typing import Annotated

import typer

from fleetloop.cli import flags

EXAMPLES = flags.examples(
    "fleetloop hub",
    "fleetloop hub --directory /data/hub --port 8900",
    "fleetloop hub --clock-file clock --speed 4          simulated robots, four times faster",
)


app = typer.Typer(invoke_without_command=True, help="The meeting place: serve it, look after what it keeps.")


@app.callback(epilog=EXAMPLES)
def hub(
    context: typer.Context,
    config: flags.Config = None,
    sets: flags.Sets = None,
    directory: Annotated[
        Path | None, typer.Option(help="Where episodes, weights and the catalog are kept.", show_default=False)
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default=False)] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Serve other machines without TLS and tokens.", show_default=False),
    ] = None,
    clock_file: flags.ClockFile = None,
    speed: Annotated[
        float | None,
        typer.Option(help="Create the clock file, this many times faster than real time.", show_default=False),
    ] = None,
) -> None:
    """Take in episodes, give out releases: everybody else finds each other here."""
    if flags.goes_to_subcommand(context):
        return
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import clock_from
    from fleetloop.hub.run import serve

    flags.log_to_terminal()
    given = {
        "hub.directory": directory,
        "hub.host": host,
        "hub.port": port,
        "hub.insecure": insecure,
        "clock.file": clock_file,
        "clock.factor": speed,
    }
    chosen = load_config(config, sets or (), given)
    clock = clock_from(chosen.clock.file, create_factor=chosen.clock.factor)
    serve(chosen.hub, clock, tasks=chosen.all_tasks, ready=lambda url: typer.echo(f"the hub serves at {url}"))


@app.command(
    "retention",
    epilog=flags.examples(
        "fleetloop hub retention --dry-run",
        "fleetloop hub retention --dry-run --set hub.retention.max_gb=200   try a cap before it is in force",
        "fleetloop hub retention --dry-run --set hub.releases.keep=64",
    ),
)
def show_retention(
    config: flags.Config = None,
    sets: flags.Sets = None,
    directory: Annotated[Path | None, typer.Option(help="The hub's.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go; the hub may run.")] = False,
) -> None:
    """Give what is beyond the caps of `hub.retention` its tombstone now. A running hub does so by itself.

    The bytes go later, from a running hub: after the grace period, and when the learner's checkpoints are past them.
    It says too which releases `hub.releases` lets go; only a running hub does that: it knows what robots run.
    """
    from fleetloop.cli.config import load_config
    from fleetloop.cli.retaining import bury, show

    chosen = load_config(config, sets or (), {"hub.directory": directory}).hub
    show(chosen)
    if not dry_run:
        typer.echo(f"{bury(chosen)} tombstones given")


@app.command("backup", epilog=flags.examples("fleetloop hub backup /mnt/backup/hub"))
def back_up_catalog(
    target: Annotated[Path, typer.Argument(help="Directory to copy the catalog to.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    directory: Annotated[Path | None, typer.Option(help="The hub's.", show_default=False)] = None,
) -> None:
    """Copy the catalog as it is now, while the hub runs. Copy the objects after it: docs/operate.md says how."""
    from fleetloop.cli.config import load_config
    from fleetloop.core.disk import RealDisk
    from fleetloop.hub.backup import back_up

    chosen = load_config(config, sets or (), {"hub.directory": directory}).hub
    typer.echo(f"the catalog is in {back_up(chosen, target, RealDisk())}")


@app.command("rebuild", epilog=flags.examples("fleetloop hub rebuild", "fleetloop hub rebuild --directory /data/hub"))
def rebuild_catalog(
    config: flags.Config = None,
    sets: flags.Sets = None,
    directory: Annotated[Path | None, typer.Option(help="The hub's.", show_default=False)] = None,
) -> None:
    """Make the catalog anew from the objects alone: for a database that is lost or damaged. The hub must be stopped.

    Every episode is read and checked. What was there is put aside and compared; its tokens are taken over if it can be
    read.
    """
    from fleetloop.cli.config import load_config
    from fleetloop.core.clock import Wall
    from fleetloop.core.disk import RealDisk
    from fleetloop.hub.rebuild import rebuild

    chosen = load_config(config, sets or (), {"hub.directory": directory})
    found = rebuild(chosen.hub, Wall(), RealDisk())
    typer.echo(f"{found.episodes} episodes, {found.annotations} annotations, {found.releases} releases")
    for line in found.damaged:
        typer.secho(f"damaged: {line}", fg="red")
    for id in found.unheard_of:
        typer.echo(f"added last, its event was not kept: {id}")
    if found.kept is None:
        typer.echo("there was no catalog to compare it with")
    elif found.different is None:
        typer.echo(f"the catalog that was there can't be read; it is kept as {found.kept}")
    else:
        typer.echo("\n".join(found.different) or "the same, row by row, as the catalog that was there")
        typer.echo(f"that one is kept as {found.kept}")
