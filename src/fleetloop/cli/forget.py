"""`fleetloop forget`: a robot that is gone for good leaves the fleet's view."""

from typing import Annotated

import typer

from fleetloop.cli import flags

EXAMPLES = flags.examples("fleetloop forget robot-3")


def forget(
    robot: Annotated[str, typer.Argument(help="A robot that is not heard any more.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
) -> None:
    """Take a robot that is gone for good out of `fleetloop status`, and end its pin. Its episodes stay."""
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub

    open_hub(load_config(config, sets or (), {"hub_url": hub})).forget(robot)
    typer.echo(f"{robot} is forgotten; if it comes back, it joins anew")
