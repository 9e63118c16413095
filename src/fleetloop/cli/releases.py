"""`fleetloop releases`: what the learner has published, how robots did under it, and which one they are to run."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from fleetloop.cli import flags

if TYPE_CHECKING:
    from pathlib import Path

    from fleetloop.core.steering import Steering
    from fleetloop.hub.http.client import HttpHub

app = typer.Typer(no_args_is_help=True, help="What was published, how robots did under it, and which one they run.")

Version: TypeAlias = Annotated[int, typer.Argument(min=1, help="A release, by version.")]


@app.callback()
def releases() -> None:
    """What was published, how robots did under it, and which one they run."""


def _hub(config: "Path | None", sets: list[str] | None, hub: str | None) -> "HttpHub":
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub

    return open_hub(load_config(config, sets or (), {"hub_url": hub}))


@app.command("ls", epilog=flags.examples("fleetloop releases ls -n 10"))
def list_releases(
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 30,
) -> None:
    """List releases, newest first, with what robots and their operators achieved under each.

    The interval is Wilson's, at 95 %. `unaided` are successes without any takeover. `evaluated` are episodes of
    `fleetloop actor --evaluate`, with the share of unaided successes among them.
    """
    from fleetloop.cli import tables
    from fleetloop.cli.release_views import listing

    client = _hub(config, sets, hub)
    online, evaluated = client.tallies(), client.tallies("evaluation")
    tables.show(listing(client.releases(limit=limit), client.fleet(), client.steering(), online, evaluated))


@app.command(epilog=flags.examples("fleetloop releases show 12"))
def show(version: Version, config: flags.Config = None, sets: flags.Sets = None, hub: flags.HubUrl = None) -> None:
    """Show all that is known of a release."""
    from fleetloop.cli import tables
    from fleetloop.cli.release_views import portrait

    client = _hub(config, sets, hub)
    online, evaluated = client.tallies(), client.tallies("evaluation")
    tables.show(portrait(client.release(version), client.fleet(), client.steering(), online, evaluated))


@app.command(epilog=flags.examples("fleetloop releases diff 12 15"))
def diff(
    older: Annotated[int, typer.Argument(min=1, help="A release.")],
    newer: Annotated[int, typer.Argument(min=1, help="Another.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
) -> None:
    """Show in what two manifests differ. Nothing is fetched: tensors are told apart by their hashes."""
    from fleetloop.cli import tables
    from fleetloop.cli.release_views import differences

    client = _hub(config, sets, hub)
    tables.show(differences(client.release(older), client.release(newer)))


@app.command(epilog=flags.examples("fleetloop releases verify 12"))
def verify(version: Version, config: flags.Config = None, sets: flags.Sets = None, hub: flags.HubUrl = None) -> None:
    """Fetch a release and check it as a robot would: its run, its signature, every tensor; and every blob.

    A robot takes the quickest way to a release and goes around what is damaged; here all ways are looked at, as the
    hub's disk has them.
    """
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub, trust_of
    from fleetloop.weights.route import check_blobs, obtain

    chosen = load_config(config, sets or (), {"hub_url": hub})
    trust, client = trust_of(chosen), open_hub(chosen)
    release = client.release(version)
    trust.check(release)
    check_blobs(release, client.stored_blob)
    weights = obtain(release, client).weights
    signed = "signed by a pinned key" if trust.keys else "no key is pinned, so its signature was not looked at"
    whole = f"all {len(weights)} tensors are what the manifest says"
    ways = f"all {len(release.blobs)} blobs of {len(release.encodings)} encodings are whole"
    typer.echo(f"release {version}: {whole}; {ways}; {signed}")


# ---------------------------------------------------------------------- steering


@app.command(epilog=flags.examples("fleetloop releases promote 12"))
def promote(version: Version, config: flags.Config = None, sets: flags.Sets = None, hub: flags.HubUrl = None) -> None:
    """Have robots run a release, past all gates; ends a hold, and what the learner was told and has not answered."""
    _hub(config, sets, hub).promote(version)
    typer.echo(f"stable is release {version}")


@app.command(
    epilog=flags.examples(
        "fleetloop releases rollback", "fleetloop releases rollback 9", "fleetloop releases rollback 9 --reset-learner"
    )
)
def rollback(
    version: Annotated[
        int, typer.Argument(min=0, help="The release to go back to; 0: the one before.", show_default=False)
    ] = 0,
    reset_learner: Annotated[
        bool,
        typer.Option("--reset-learner", help="The learner too: on from its newest checkpoint that is no later."),
    ] = False,
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
) -> None:
    """Have robots go back to an older release, and stay there whatever is published.

    The learner goes on from what it has learnt, unless it is reset. `promote` or `resume` let robots move again.
    """
    client = _hub(config, sets, hub)
    before = client.fleet().stable
    client.roll_back(version, reset_learner=reset_learner)
    stable = client.fleet().stable
    went = "stays at" if stable == before else f"went back from release {before} to"
    typer.echo(f"stable {went} {stable}, and is held there")
    if reset_learner:
        typer.echo(f"the learner was told to go back to {stable}; `fleetloop status` shows whether it has answered")


@app.command(epilog=flags.examples("fleetloop releases hold"))
def hold(config: flags.Config = None, sets: flags.Sets = None, hub: flags.HubUrl = None) -> None:
    """Keep robots at the release that they run, whatever is published."""
    client = _hub(config, sets, hub)
    client.hold()
    typer.echo(f"stable is held at release {client.fleet().stable}")


@app.command(epilog=flags.examples("fleetloop releases resume"))
def resume(config: flags.Config = None, sets: flags.Sets = None, hub: flags.HubUrl = None) -> None:
    """End a hold: releases reach robots again as the hub's configuration says."""
    client = _hub(config, sets, hub)
    before = client.fleet().stable
    verdicts, stable = client.resume().verdicts, client.fleet().stable
    at = f"is release {stable}, and moves again" if stable else "points to no release yet, and moves as they come"
    typer.echo(f"stable {at}")
    if stable != before and (verdict := verdicts.get(str(stable))):
        typer.echo(
            f"of release {stable} was said before: {verdict}. `rollback {before}` goes back to {before} and holds"
        )


@app.command(
    epilog=flags.examples("fleetloop releases pin robot-3 9", "fleetloop releases pin robot-3 0          as the others")
)
def pin(
    robot: Annotated[str, typer.Argument(help="A robot of the fleet.")],
    version: Annotated[int, typer.Argument(min=0, help="The release that it is to run; 0: no longer pinned.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
) -> None:
    """Have one robot run a release of its own, from its next episode on."""
    steering: Steering = _hub(config, sets, hub).pin(robot, version)
    said = [f"{name} at {pinned}" for name, pinned in sorted(steering.pins.items())]
    typer.echo(f"pinned: {', '.join(said) or 'no robot'}")
