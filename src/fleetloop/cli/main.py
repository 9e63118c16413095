"""`fleetloop`: the table of contents. Command modules import the rooms only when they run, so that help is quick."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fleetloop import __version__
from fleetloop.cli import flags
from fleetloop.core.errors import FleetLoopError

DEBUG = "FLEETLOOP_DEBUG"


class OneLineErrors(TyperGroup):
    """Shows an error that FleetLoop raises on purpose as the one line that it is."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FleetLoopError as error:
            if os.environ.get(DEBUG):
                raise
            typer.secho(f"fleetloop: {error}", fg="red", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=OneLineErrors,
    name="fleetloop",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=flags.examples(
        "fleetloop demo                            see a simulated fleet learn",
        "fleetloop config show --docs > fleet.yaml   a configuration to start from",
        f"{DEBUG}=1 fleetloop …                  show the traceback of an error",
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def fleetloop(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """A fleet of robots keeps learning while it works."""


def _add_commands() -> None:
    from fleetloop.cli import actor, config_command, courier, hub, learner, pretrain

    app.command(rich_help_panel=flags.FLEET, epilog=hub.EXAMPLES)(hub.hub)
    app.command(rich_help_panel=flags.FLEET, epilog=learner.EXAMPLES)(learner.learner)
    app.command(rich_help_panel=flags.FLEET, epilog=courier.EXAMPLES)(courier.courier)
    app.command(rich_help_panel=flags.FLEET, epilog=actor.EXAMPLES)(actor.actor)
    app.command(rich_help_panel=flags.LEARN, epilog=pretrain.EXAMPLES)(pretrain.pretrain)
    app.add_typer(config_command.app, name="config", rich_help_panel=flags.LOOK)


_add_commands()


def main() -> None:
    """The console script."""
    app()
