"""What the catalog keeps of an episode."""

from collections.abc import Mapping
from typing import Any

from fleetloop.core.episode import Episode
from fleetloop.core.frame import Source

AHEAD_S, BEHIND_S = 60.0, 7 * 86_400.0
"""How far a robot's clock may be off the hub's at an episode's arrival; behind: it may have waited in a spool."""


def catalog_row(
    episode: Episode, *, hash: str, size: int, received_clock_s: float, received_wall_s: float, edge: int
) -> Mapping[str, Any]:
    """One JSON object per episode: all that the learner's buffer, the sampler and `episodes ls` go by.

    `human_runs` are the interventions as [first frame, one past the last], `takeover_ends_s` the clock times of their
    last frames. Releases count the `policy` frames alone (0: there are none), and `staleness` is how many releases had
    come out on the edge since the oldest of them when the episode arrived. `wall_offset_s` is the Unix time of the last
    frame, by the robot's clock, less that of the arrival, by the hub's; `clock_suspect`: it is more than a minute ahead
    or a week behind. No order and no age goes by the robot's clock.
    """
    meta, ending = episode.meta, episode.meta.ending
    assert ending is not None, "the hub takes no episode without an ending"
    clock_s, runs = episode.column("clock_s"), episode.interventions()
    acted = episode.column("release")[episode.source == Source.POLICY]
    offset_s = float(episode.column("wall_s")[-1]) - received_wall_s if len(episode) else None
    oldest, newest = (int(acted.min()), int(acted.max())) if len(acted) else (0, 0)
    return {
        "id": meta.id,
        "run": meta.run,
        "task": meta.task,
        "instruction": meta.instruction,
        "purpose": meta.purpose,
        "robot": meta.robot,
        "embodiment": meta.spec.embodiment,
        "spec_hash": meta.spec.hash(),
        "site": meta.site,
        "seed": meta.seed,
        "operator": meta.operator,
        "outcome": ending.outcome.value,
        "judge": ending.judge.value,
        "ticks_missed": ending.ticks_missed,
        "frames": len(episode),
        "frames_human": sum(stop - start for start, stop in runs),
        "interventions": len(runs),
        "human_runs": [list(run) for run in runs],
        "takeover_ends_s": [float(clock_s[stop - 1]) for _, stop in runs],
        "first_clock_s": float(clock_s[0]) if len(episode) else None,
        "last_clock_s": float(clock_s[-1]) if len(episode) else None,
        "reset_s": meta.reset_s,
        "control_hz": meta.spec.control_hz,
        "clock": meta.clock,
        "received_clock_s": received_clock_s,
        "received_wall_s": received_wall_s,
        "wall_offset_s": offset_s,
        "clock_suspect": offset_s is not None and not -BEHIND_S <= offset_s <= AHEAD_S,
        "release_min": oldest,
        "release_max": newest,
        "staleness": max(edge - oldest, 0) if oldest else 0,
        "hash": hash,
        "bytes": size,
    }


def kind_of(row: Mapping[str, Any]) -> str:
    """What retention tells apart: `autonomous`, `correction` (an online one with human frames), or the purpose."""
    if row["purpose"] != "online":
        return str(row["purpose"])
    return "correction" if row["frames_human"] else "autonomous"
