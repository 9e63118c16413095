"""`fleetloop courier`: carries episodes up and releases down, as a process in the foreground."""

from typing import Annotated

import typer

from fleetloop.cli import flags

EXAMPLES = flags.examples(
    "fleetloop courier",
    "fleetloop courier --home /data/host --hub http://127.0.0.1:8900",
    "fleetloop courier --uplink-mbps 20          leave the rest of the uplink to others",
)


def courier(
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    home: flags.Home = None,
    clock_file: flags.ClockFile = None,
    uplink_mbps: Annotated[
        float | None,
        typer.Option(help="Megabits per second that uploads take at most.", show_default=False),
    ] = None,
) -> None:
    """Carry episodes up and releases down for the actors of this host. One is enough."""
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import clock_from, open_hub, trust_of
    from fleetloop.core.disk import RealDisk
    from fleetloop.core.host import HostDirectory
    from fleetloop.courier.run import run_courier

    flags.log_to_terminal()
    given = {
        "hub_url": hub,
        "directories.home": home,
        "clock.file": clock_file,
        "courier.uplink_mbps": uplink_mbps,
    }
    chosen = load_config(config, sets or (), given)
    disk = RealDisk()
    run_courier(
        HostDirectory(chosen.directories.home, disk),
        open_hub(chosen),
        disk=disk,
        clock=clock_from(chosen.clock.file),
        options=chosen.courier,
        trust=trust_of(chosen),
    )
