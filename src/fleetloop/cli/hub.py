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


def hub(
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
    serve(chosen.hub, clock, tasks=chosen.tasks, ready=lambda url: typer.echo(f"the hub serves at {url}"))
