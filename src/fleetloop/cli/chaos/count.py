"""What the fleet kept of what its robots recorded."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetloop.cli.chaos.witness import frames_in
from fleetloop.core.episode import Episode
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.hub import Event, Hub
from fleetloop.core.validation import validate
from fleetloop.courier.spool import REASON, refusal

PAGE = 1000
PROMISES = ("lost", "shortened", "refused", "duplicated", "damaged")


def counted(hub: Hub, witnessed: Mapping[str, int], refused: Path) -> dict[str, Any]:
    """The report's counts, once the fleet has come to rest.

    `witnessed`: id -> the frames that a recording was seen to have; `refused`: where a host sets aside what it can't
    deliver. Only what never had a whole frame may be there.
    """
    stored = Counter(event.ref for event in events(hub) if event.kind == "episode")
    rows = {row["id"]: row for row in hub.episodes(limit=10_000)}
    aside = {path.stem: path for path in refused.iterdir() if not path.name.endswith(REASON)}
    frameless = {id for id, path in aside.items() if not witnessed.get(id) and not frames_in(path)}
    learner = hub.fleet().learner
    return {
        "recorded": len(witnessed),
        "stored": len(stored),
        "aborted": sum(rows[id]["outcome"] == "aborted" for id in stored),
        "frames": sum(row["frames"] for row in rows.values()),
        "without_a_whole_frame": len(frameless - stored.keys()),
        "lost": sorted(witnessed.keys() - stored.keys() - aside.keys()),
        "shortened": [
            f"{id}: {rows[id]['frames']} of {frames} frames"
            for id, frames in sorted(witnessed.items())
            if id in stored and rows[id]["frames"] < frames
        ],
        "refused": [f"{id}: {refusal(path)}" for id, path in sorted(aside.items()) if id not in frameless],
        "duplicated": sorted(id for id, count in stored.items() if count > 1),
        "damaged": _damaged(hub, sorted(stored)),
        "learner_steps": learner.step if learner else 0,
        "releases": learner.release if learner else 0,
    }


def broken(report: Mapping[str, Any]) -> str:
    """Which promises did not hold; empty if all did."""
    return ", ".join(f"{len(report[name])} {name}" for name in PROMISES if report[name])


def events(hub: Hub) -> list[Event]:
    """All that the hub ever told."""
    found: list[Event] = []
    while page := hub.events(found[-1].seq if found else 0, limit=PAGE):
        found += page
    return found


def _damaged(hub: Hub, ids: list[str]) -> list[str]:
    """Which of the hub's episodes are not what the hub says they are, read byte by byte."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        for id in ids:
            try:
                hub.get_episode(id, Path(place) / id)
                validate(Episode.open(Path(place) / id))
            except FleetLoopError as error:
                found.append(f"{id}: {error}")
    return found
