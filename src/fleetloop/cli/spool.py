"""`fleetloop spool`: what waits on a robot's host, and two ways to get it off."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags

if TYPE_CHECKING:
    from fleetloop.core.host import HostDirectory

app = typer.Typer(
    no_args_is_help=True, help="Look into the episodes that wait on this host, upload them, carry them away."
)


@app.command("ls", epilog=flags.examples("fleetloop spool ls", "fleetloop spool ls --home /data/host"))
def list_spool(config: flags.Config = None, sets: flags.Sets = None, home: flags.Home = None) -> None:
    """List what is being recorded, what waits for the hub, and what was refused."""
    from fleetloop.cli import tables
    from fleetloop.cli.config import load_config
    from fleetloop.core.disk import RealDisk
    from fleetloop.courier.inventory import inventory

    chosen, disk = load_config(config, sets or (), {"directories.home": home}), RealDisk()
    items = inventory(_host(chosen.directories.home).spool, disk)
    rows = tables.table("id", "state", "robot", "task", "outcome", "frames", "takeovers", "bytes", "why")
    for item in items:
        meta = item.meta
        outcome = meta.outcome.value if meta else "–"
        known = (meta.robot, meta.task, outcome, str(item.frames), str(item.interventions)) if meta else ("–",) * 5
        rows.add_row(item.id, item.state.value, *known, f"{item.size:,}", item.reason)
    tables.show(rows)
    typer.echo(f"{len(items)} episodes, {sum(item.size for item in items):,} bytes")


@app.command(epilog=flags.examples("fleetloop spool drain --hub http://10.0.0.5:8787"))
def drain(
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    home: flags.Home = None,
    wait: Annotated[float, typer.Option(min=0, help="Real seconds to wait for a hub that is away.")] = 10.0,
) -> None:
    """Upload all that waits, and end; for a host whose courier is not running."""
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub
    from fleetloop.core.disk import RealDisk
    from fleetloop.courier.by_hand import drain_spool

    flags.log_to_terminal()
    chosen = load_config(config, sets or (), {"hub_url": hub, "directories.home": home})
    disk = RealDisk()
    host = _host(chosen.directories.home)
    client = open_hub(chosen)
    drain_spool(host, client, disk=disk, options=chosen.courier, wait_s=wait)
    typer.echo("Nothing waits any more.")


@app.command(epilog=flags.examples("fleetloop spool export /media/stick", "fleetloop spool export /media/stick --move"))
def export(
    directory: Annotated[Path, typer.Argument(help="Where to; it is made.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    home: flags.Home = None,
    move: Annotated[bool, typer.Option("--move", help="Remove each episode here once its copy is durable.")] = False,
) -> None:
    """Copy the sealed episodes elsewhere. As the spool of another host they go up from there."""
    from fleetloop.cli.config import load_config
    from fleetloop.core.disk import RealDisk
    from fleetloop.courier.by_hand import export_spool

    chosen, disk = load_config(config, sets or (), {"directories.home": home}), RealDisk()
    copied = export_spool(_host(chosen.directories.home), directory, disk=disk, move=move)
    typer.echo(f"{len(copied)} episodes are in {directory}")


def _host(home: Path) -> "HostDirectory":
    """Raises ConfigInvalid where no robot was ever: an empty spool would say that all is well."""
    from fleetloop.core.disk import RealDisk
    from fleetloop.core.errors import ConfigInvalid
    from fleetloop.core.host import SPOOL, HostDirectory

    if not (home / SPOOL).is_dir():
        raise ConfigInvalid("directories.home", f"{home} has no {SPOOL}", "name a host's directory with --home")
    return HostDirectory(home, RealDisk())
