"""`fleetloop keys`: the pair by which robots know their learner's releases."""

from pathlib import Path
from typing import Annotated

import typer

from fleetloop.cli import flags

app = typer.Typer(no_args_is_help=True, help="Make the key that releases are signed by, and show what robots pin.")


@app.callback()
def keys() -> None:
    """Make the key that releases are signed by, and show what robots pin."""


@app.command(epilog=flags.examples("fleetloop keys make", "fleetloop keys make /etc/fleetloop/release.key"))
def make(
    path: Annotated[Path, typer.Argument(help="The private key's file; there must be none yet.")] = Path("release.key"),
) -> None:
    """Make a key pair. The private key stays with the learner; the public one is printed, for all robots."""
    from fleetloop.weights.signature import make_key

    signer = make_key(path)
    typer.echo(f"the private key is {path}: for the learner alone, as learner.signing_key", err=True)
    typer.echo("robots refuse what it has not signed once this is among their release_keys:", err=True)
    typer.echo(signer.public)


@app.command(epilog=flags.examples("fleetloop keys show release.key"))
def show(path: Annotated[Path, typer.Argument(help="The private key's file.")] = Path("release.key")) -> None:
    """Print the public key that belongs to a private one."""
    from fleetloop.weights.signature import open_key

    typer.echo(open_key(path, "key").public)
