"""`fleetloop releases`: what the learner has published."""

from typing import Annotated

import typer

from fleetloop.cli import flags

app = typer.Typer(no_args_is_help=True, help="List what was published; move robots to a release.")


@app.callback()
def releases() -> None:
    """List what was published; move robots to a release."""


@app.command("ls", epilog=flags.examples("fleetloop releases ls -n 10"))
def list_releases(
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 30,
) -> None:
    """List releases, newest first."""
    from fleetloop.cli import tables
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub

    client = open_hub(load_config(config, sets or (), {"hub_url": hub}))
    fleet = client.fleet()
    rows = tables.table("version", "channel", "parent", "run", "step", "trained through", "covers", "MB", "clock s")
    for release in client.releases(limit=limit):
        channels = [name for name, at in (("edge", fleet.edge), ("stable", fleet.stable)) if at == release.version]
        rows.add_row(
            str(release.version),
            ", ".join(channels),
            str(release.parent or "–"),
            release.run,
            str(release.step),
            str(release.trained_through),
            str(len(release.covers)),
            f"{sum(blob.size for blob in release.blobs) / 1e6:.1f}",
            f"{release.clock_s:.0f}",
        )
    tables.show(rows)


@app.command(epilog=flags.examples("fleetloop releases promote 12"))
def promote(
    version: Annotated[int, typer.Argument(min=1, help="The release that robots are to run.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
) -> None:
    """Move the stable channel to a release."""
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub

    open_hub(load_config(config, sets or (), {"hub_url": hub})).promote(version)
    typer.echo(f"stable is release {version}")
