"""`fleetloop tokens`: who may speak to this hub. On the hub's own machine, whether it runs or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags

if TYPE_CHECKING:
    from fleetloop.hub.options import HubOptions
    from fleetloop.hub.tokens import Tokens

app = typer.Typer(no_args_is_help=True, help="Issue, list and revoke the tokens that a hub asks for.")

HubDirectory = Annotated[
    Path | None, typer.Option("--directory", help="The hub's; by default the configuration's.", show_default=False)
]


@app.command(
    epilog=flags.examples(
        'fleetloop tokens issue robot --robots arm-1,arm-2 --note "bench 3"   a courier speaks for its host\'s robots',
        "fleetloop tokens issue learner > learner.token",
    )
)
def issue(
    scope: Annotated[str, typer.Argument(help="robot, learner or operator.")],
    robots: Annotated[
        str | None, typer.Option(help="Comma-separated: speak for these alone.", show_default=False)
    ] = None,
    note: Annotated[str, typer.Option(help="For people.", show_default=False)] = "",
    config: flags.Config = None,
    sets: flags.Sets = None,
    directory: HubDirectory = None,
) -> None:
    """Make a token. Its secret is printed now and can't be shown again."""
    from fleetloop.core.errors import ConfigInvalid
    from fleetloop.hub.tokens import Scope

    if scope not in list(Scope):
        raise ConfigInvalid("scope", f"{scope!r} is none", f"use one of {', '.join(Scope)}")
    options = _hub(config, sets, directory)
    _make_if_new(options)
    with _tokens(options) as tokens:
        token, secret = tokens.issue(Scope(scope), flags.split(robots, "--robots") or (), note)
    typer.echo(f"token {token.id} for {'all robots' if not token.robots else ', '.join(token.robots)}", err=True)
    typer.echo(secret)


@app.command("ls", epilog=flags.examples("fleetloop tokens ls"))
def list_tokens(config: flags.Config = None, sets: flags.Sets = None, directory: HubDirectory = None) -> None:
    """List all tokens, without their secrets."""
    from fleetloop.cli import tables

    rows = tables.table("id", "scope", "robots", "issued", "revoked", "note")
    with _tokens(_hub(config, sets, directory)) as tokens:
        for token in tokens.all():
            rows.add_row(
                token.id,
                token.scope.value,
                ", ".join(token.robots) or "all",
                _date(token.issued_wall_s),
                _date(token.revoked_wall_s),
                token.note,
            )
    tables.show(rows)


@app.command(epilog=flags.examples("fleetloop tokens revoke 5f1c09aa"))
def revoke(
    id: Annotated[str, typer.Argument(help="The token's, as `ls` shows it.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    directory: HubDirectory = None,
) -> None:
    """Make a token worthless, from the next call on."""
    with _tokens(_hub(config, sets, directory)) as tokens:
        tokens.revoke(id)
    typer.echo(f"{id} is revoked")


def _hub(config: Path | None, sets: list[str] | None, directory: Path | None) -> "HubOptions":
    from fleetloop.cli.config import load_config

    return load_config(config, sets or (), {"hub.directory": directory}).hub


def _make_if_new(options: "HubOptions") -> None:
    """Tokens may be issued before the hub is started for the first time."""
    from fleetloop.core.clock import Wall
    from fleetloop.core.disk import RealDisk
    from fleetloop.hub.catalog.place import holds_catalog, place_of
    from fleetloop.hub.service import HubService

    if not holds_catalog(place_of(options)):
        HubService.open(options, Wall(), RealDisk()).close()
        typer.echo(f"{options.directory.resolve()} held no hub: made a new one there", err=True)


@contextmanager
def _tokens(options: "HubOptions") -> "Iterator[Tokens]":
    from fleetloop.core.clock import Wall
    from fleetloop.hub.catalog.catalog import Catalog
    from fleetloop.hub.catalog.place import holds_catalog, no_catalog, place_of
    from fleetloop.hub.tokens import Tokens

    place = place_of(options)
    if not holds_catalog(place):
        raise no_catalog(place)
    catalog = Catalog(place)
    try:
        yield Tokens(catalog, Wall())
    finally:
        catalog.close()


def _date(wall_s: float | None) -> str:
    return "–" if wall_s is None else datetime.fromtimestamp(wall_s).isoformat(" ", "seconds")
