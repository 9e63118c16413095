"""`fleetloop episodes`: what the fleet has experienced, and what people say about it."""

import getpass
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetloop.cli import flags
from fleetloop.core.errors import ConfigInvalid

UNITS = (("years", 365.25 * 86_400), ("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0))

app = typer.Typer(no_args_is_help=True, help="List the hub's episodes, look into one, say something about it.")


@app.command(
    "ls",
    epilog=flags.examples("fleetloop episodes ls --task restock/shelf --outcome failure", "fleetloop episodes ls -n 5"),
)
def list_episodes(
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    task: Annotated[str, typer.Option(help="Only this task.", show_default=False)] = "",
    outcome: Annotated[str, typer.Option(help="Only success, failure, timeout or aborted.", show_default=False)] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 30,
) -> None:
    """List episodes, newest first.

    `staleness`: how many releases had come since the oldest that it ran under, when it arrived.
    `clock`: how far the robot's clock was off the hub's when the episode arrived, where it is doubtful: more than a
    minute ahead, or more than a week behind.
    """
    from rich.text import Text

    from fleetloop.cli import tables
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub

    chosen = load_config(config, sets or (), {"hub_url": hub})
    known = open_hub(chosen).episodes(task=task, outcome=outcome, limit=limit)
    rows = tables.table(
        "id", "robot", "site", "task", "purpose", "outcome", "frames", "takeovers", "release", "staleness", "clock"
    )
    for row in known:
        rows.add_row(
            row["id"],
            row["robot"],
            row["site"],
            row["task"],
            row["purpose"],
            Text("damaged", "red") if row["damaged"] else row["outcome"],
            str(row["frames"]),
            str(row["interventions"]),
            str(row["release_max"] or "–"),
            str(row["staleness"]),
            _clock(row),
        )
    tables.show(rows)


@app.command(epilog=flags.examples("fleetloop episodes show 01JD…"))
def show(
    episode: Annotated[str, typer.Argument(help="Its id.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
) -> None:
    """Show what is known of an episode, and what was said about it."""
    from rich.text import Text

    from fleetloop.cli import tables
    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import named_episode, open_hub

    chosen = load_config(config, sets or (), {"hub_url": hub})
    client, recorded = open_hub(chosen), named_episode(chosen, episode)
    console = tables.console(soft_wrap=True, highlight=False)
    for name, value in _facts(recorded).items():
        console.print(Text(f"{name:14}", "bold"), value)
    for said in client.annotations(episode):
        claims = {"outcome": said.outcome, "exclude": said.exclude, "quality": said.quality}
        told = ", ".join(f"{name} {value}" for name, value in claims.items() if value is not None)
        when = datetime.fromtimestamp(said.wall_s).isoformat(" ", "seconds")
        console.print(Text(f"{'said':14}", "bold"), f"{told} ({said.author}, {said.judge}, {when})")


@app.command(
    epilog=flags.examples(
        "fleetloop episodes annotate 01JD… --outcome failure", "fleetloop episodes annotate 01JD… --exclude"
    )
)
def annotate(
    episode: Annotated[str, typer.Argument(help="Its id.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    outcome: Annotated[
        str | None, typer.Option(help="How it really ended: success, failure, timeout, aborted.", show_default=False)
    ] = None,
    exclude: Annotated[
        bool | None, typer.Option("--exclude/--include", help="Keep it out of training.", show_default=False)
    ] = None,
    quality: Annotated[
        float | None, typer.Option(min=0, max=1, help="0 worthless to 1 exemplary.", show_default=False)
    ] = None,
    author: Annotated[str | None, typer.Option(help="Who says so; by default you.", show_default=False)] = None,
) -> None:
    """State how an episode really ended, or that nobody should learn from it. A person's word stands highest."""
    import numpy as np

    from fleetloop.cli.config import load_config
    from fleetloop.cli.wiring import open_hub
    from fleetloop.core.clock import Wall
    from fleetloop.core.ids import new_id
    from fleetloop.core.outcome import Annotation, Judge

    if outcome is None and exclude is None and quality is None:
        raise ConfigInvalid("annotation", "says nothing", "give --outcome, --exclude, --include or --quality")
    wall_s = Wall().wall()
    said = {
        "id": new_id(wall_s, np.random.default_rng()),
        "episode": episode,
        "author": author or _user(),
        "judge": Judge.PERSON,
        "wall_s": wall_s,
        "outcome": outcome,
        "exclude": exclude,
        "quality": quality,
    }
    client = open_hub(load_config(config, sets or (), {"hub_url": hub}))
    client.annotate(Annotation.from_json(said))
    typer.echo(f"noted about {episode}")


@app.command(
    epilog=flags.examples(
        "fleetloop episodes play 01JD… --out episode.mp4", "fleetloop episodes play 01JD… --out sheet.png"
    )
)
def play(
    episode: Annotated[str, typer.Argument(help="Its id, or the file of a sealed one.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    out: Annotated[
        Path, typer.Option(help="A video (.mp4), a contact sheet (.png), or a Rerun recording (.rrd).")
    ] = Path("episode.mp4"),
) -> None:
    """Show what the robot's cameras saw, and who drove: green the policy, purple a person."""
    from fleetloop.cli.config import load_config
    from fleetloop.cli.playing import play as write
    from fleetloop.cli.wiring import named_episode

    write(named_episode(load_config(config, sets or (), {"hub_url": hub}), episode), out)
    typer.echo(str(out))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number alone
        raise ConfigInvalid("author", "is unknown: your user has no name on this machine", "give --author") from None


def _clock(row: Mapping[str, Any]) -> str:
    """Of an episode from before the hub compared clocks nothing is said."""
    if not row.get("clock_suspect"):
        return ""
    offset_s = row["wall_offset_s"]
    size = next((f"{abs(offset_s) / unit:.1f} {name}" for name, unit in UNITS if abs(offset_s) >= unit), "")
    return f"{size} {'ahead' if offset_s > 0 else 'behind'}"


def _facts(recorded: Any) -> dict[str, Any]:
    meta, ending = recorded.meta, recorded.meta.ending
    runs = recorded.interventions()
    releases = sorted(set(recorded.column("release").tolist()))
    return {
        "id": meta.id,
        "task": f"{meta.task}, “{meta.instruction}”",
        "robot": f"{meta.robot} at {meta.site}, seed {meta.seed}",
        "run": f"{meta.run}, {meta.purpose}",
        "outcome": f"{ending.outcome}, judged by {ending.judge}",
        "length": f"{len(recorded)} frames at {meta.spec.control_hz:g} Hz, {ending.ticks_missed} ticks missed",
        "releases": ", ".join(map(str, releases)) or "none",
        "takeovers": ", ".join(f"{start}–{stop - 1}" for start, stop in runs) or "none",
        "operator": meta.operator or "nobody",
        "cameras": ", ".join(camera.name for camera in meta.spec.cameras) or "none",
    }
