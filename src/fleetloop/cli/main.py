"""`fleetloop`: the table of contents. Command modules import the rooms only when they run, so that help is quick."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fleetloop import __version__
from fleetloop.cli import (
    actor,
    config_command,
    courier,
    dataset,
    demos,
    episodes,
    eval_command,
    flags,
    forget,
    hub,
    keys,
    lab,
    learner,
    plugins,
    pretrain,
    recap,
    releases,
    replay,
    sim,
    spool,
    status,
    tokens,
    weights,
)
from fleetloop.cli.check import command as check_command
from fleetloop.cli.demo import command as demo_command
from fleetloop.core.errors import DEBUG, FleetLoopError


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
        except RuntimeError as error:
            if "MUJOCO_GL" not in str(error):
                raise
            # mujoco refuses to be imported under a value that it does not know.
            remedy = "unset it, or choose egl, osmesa or glfw"
            typer.secho(
                f"fleetloop: MUJOCO_GL: {os.environ.get('MUJOCO_GL')!r} is unknown; {remedy}", fg="red", err=True
            )
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
        from fleetloop.core.versions import code_digest

        typer.echo(f"{__version__}, code {code_digest()}")
        raise typer.Exit


@app.callback()
def fleetloop(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """A fleet of robots keeps learning while it works."""


app.command("demo", rich_help_panel=flags.FLEET, epilog=demo_command.EXAMPLES)(demo_command.demo)
app.add_typer(hub.app, name="hub", rich_help_panel=flags.FLEET)
app.command("learner", rich_help_panel=flags.FLEET, epilog=learner.EXAMPLES)(learner.learner)
app.command("courier", rich_help_panel=flags.FLEET, epilog=courier.EXAMPLES)(courier.courier)
app.command("actor", rich_help_panel=flags.FLEET, epilog=actor.EXAMPLES)(actor.actor)
app.command("status", rich_help_panel=flags.FLEET, epilog=status.EXAMPLES)(status.status)
app.command("forget", rich_help_panel=flags.FLEET, epilog=forget.EXAMPLES)(forget.forget)
app.add_typer(demos.app, name="demos", rich_help_panel=flags.LEARN)
app.add_typer(dataset.app, name="dataset", rich_help_panel=flags.LEARN)
app.add_typer(pretrain.app, name="pretrain", rich_help_panel=flags.LEARN)
app.command("eval", rich_help_panel=flags.LEARN, epilog=eval_command.EXAMPLES)(eval_command.evaluate)
app.command("replay", rich_help_panel=flags.LEARN, epilog=replay.EXAMPLES)(replay.replay)
app.add_typer(recap.app, name="recap", rich_help_panel=flags.LEARN)
app.add_typer(sim.app, name="sim", rich_help_panel=flags.LOOK)
app.add_typer(tokens.app, name="tokens", rich_help_panel=flags.FLEET)
app.add_typer(keys.app, name="keys", rich_help_panel=flags.FLEET)
app.add_typer(spool.app, name="spool", rich_help_panel=flags.LOOK)
app.add_typer(episodes.app, name="episodes", rich_help_panel=flags.LOOK)
app.add_typer(releases.app, name="releases", rich_help_panel=flags.LOOK)
app.add_typer(weights.app, name="weights", rich_help_panel=flags.LOOK)
app.add_typer(lab.app, name="lab", rich_help_panel=flags.LOOK)
app.command("check", rich_help_panel=flags.LOOK, epilog=check_command.EXAMPLES)(check_command.check)
app.command("plugins", rich_help_panel=flags.LOOK, epilog=plugins.EXAMPLES)(plugins.plugins)
app.add_typer(config_command.app, name="config", rich_help_panel=flags.LOOK)


def main() -> None:
    """The console script."""
    app()
