"""How long what the fleet experienced took to come back to it. All times are clock seconds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetloop.cli.demo.experience import Row
from fleetloop.core.release import Release


@dataclass(frozen=True)
class Correction:
    """One takeover, and when what it taught had reached every robot.

    Attributes:
        ended_s: when the human handed back, or the episode was over.
        episode_ended_s: the end of its episode, before which nothing is sent.
        reached_s: the start of the first episode of the last robot under a release that covers it; None if some robot
            began none before the demo's end.
    """

    ended_s: float
    episode_ended_s: float
    reached_s: float | None


def corrections(rows: Sequence[Row], releases: Iterable[Release], robots: Sequence[str]) -> list[Correction]:
    """Every takeover of these episodes.

    A release covers an episode when it has drawn 32 of its human frames, or all.
    """
    covered_by: dict[str, int] = {}
    for release in sorted(releases, key=lambda item: item.version):
        for episode in release.covers:
            covered_by.setdefault(episode, release.version)
    starts = {
        robot: [(row["release_min"], row["first_clock_s"]) for row in rows if row["robot"] == robot and row["frames"]]
        for robot in robots
    }
    reached = {version: _reached_all(starts.values(), version) for version in set(covered_by.values())}
    return [
        Correction(ended_s, row["last_clock_s"], reached.get(covered_by.get(row["id"], 0)))
        for row in rows
        for ended_s in row["takeover_ends_s"]
    ]


def _reached_all(starts: Iterable[Sequence[tuple[int, float]]], version: int) -> float | None:
    """When the last robot began an episode under this release or a later one; None if one never did."""
    firsts = [min((began for release, began in mine if release >= version), default=None) for mine in starts]
    known = [began for began in firsts if began is not None]
    return max(known) if len(known) == len(firsts) and known else None


def publish_to_verified(releases: Iterable[Release], installed: Iterable[Mapping[str, Any]]) -> list[float]:
    """Of every release that a host has verified: from its hand-over to the hub until then. The host skips a release
    that is not the newest any more."""
    published = {release.version: release.clock_s for release in releases}
    verified: dict[int, float] = {}
    for line in installed:
        verified.setdefault(line["version"], line["clock_s"])
    return [at - published[version] for version, at in verified.items() if version in published]


def spread_of(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, 99th percentile and count; None where there is nothing to take them over."""
    if not seconds:
        return {"p50": None, "p99": None, "n": 0}
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "n": len(seconds)}


def latencies(
    rows: Sequence[Row],
    releases: Sequence[Release],
    robots: Sequence[str],
    metrics: Iterable[Mapping[str, Any]],
    installed: Iterable[Mapping[str, Any]],
    clock: str,
) -> dict[str, Any]:
    """`latency_s` of the report."""
    drawn = [row["episode_to_batch_s"] for row in metrics if row["kind"] == "first_draw"]
    found = corrections(rows, releases, robots)
    arrived = [(item, item.reached_s) for item in found if item.reached_s is not None]
    return {
        "clock": clock,
        "episode_to_batch": spread_of(drawn),
        "publish_to_verified": spread_of(publish_to_verified(releases, installed)),
        "correction_to_fleet": {
            **spread_of([reached - item.ended_s for item, reached in arrived]),
            "pending": len(found) - len(arrived),
        },
        "correction_to_fleet_beyond_episode": spread_of([reached - item.episode_ended_s for item, reached in arrived]),
    }
