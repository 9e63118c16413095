"""The figures of a demo's report: what came of the tasks, and what the fleet did meanwhile."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetloop.cli.demo.experience import Row, ended, human_share
from fleetloop.cli.demo.journeys import latencies
from fleetloop.core.hub import RobotStatus
from fleetloop.core.release import Release
from fleetloop.lab.evaluation import Score

Scores = Mapping[str, Score]
"""By task."""
MEASURED = ("before", "after", "control_after", "expert")


@dataclass(frozen=True)
class Lived:
    """What is left of a fleet's run when all its processes have stopped.

    Attributes:
        statuses: the robots' last words.
        metrics: the learner's rows.
        installed: what the host has verified and when, see `HostDirectory.log_installed`.
        spooled: recordings and episodes that the courier did not get rid of.
        clock: the clock's name; began_s: when all robots ran, by that clock.
        time_scale: clock seconds per real second: mean, low, high.
    """

    rows: Sequence[Row]
    releases: Sequence[Release]
    statuses: Sequence[RobotStatus]
    metrics: Sequence[Mapping[str, Any]]
    installed: Sequence[Mapping[str, Any]]
    spooled: int
    clock: str
    began_s: float
    time_scale: Mapping[str, float]


def task_figures(measured: Mapping[str, Scores]) -> dict[str, Any]:
    """`tasks` of the report; `measured` maps each of MEASURED to the scores by task."""
    return {task: {name: _counted(measured[name][task]) for name in MEASURED} for task in measured[MEASURED[0]]}


def _counted(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in ("successes", "episodes", "rate", "low", "high")}


def average_figures(measured: Mapping[str, Scores]) -> dict[str, Any]:
    """`average` of the report: means over tasks, and the share of the way from the base to the expert."""
    mean = {name: sum(score.rate for score in scores.values()) / len(scores) for name, scores in measured.items()}
    return {**mean, "gap_closed": gap_closed(mean["before"], mean["after"], mean["expert"])}


def gap_closed(before: float, after: float, expert: float) -> float | None:
    """None where the expert is no better than the base."""
    return (after - before) / (expert - before) if expert > before else None


def fleet_figures(lived: Lived) -> dict[str, Any]:
    """What the fleet and the learner did."""
    rows, whole = lived.rows, ended(lived.rows)
    steps = [row for row in lived.metrics if row["kind"] == "step"]
    return {
        "episodes": len(rows),
        "frames": sum(row["frames"] for row in rows),
        "interventions": sum(row["interventions"] for row in rows),
        "human_share": human_share(rows),
        "autonomous_share": sum(row["frames_human"] == 0 for row in whole) / len(whole) if whole else 0.0,
        "releases": len(lived.releases),
        "learner_steps": max((release.step for release in lived.releases), default=0),
        "replay_ratio": steps[-1]["replay_ratio"] if steps else 0.0,
        "data_wait": sum(row["data_wait"] for row in steps) / len(steps) if steps else 0.0,
        "lost": lost(lived.statuses, rows),
        "left_in_spool": lived.spooled,
        "duplicated": duplicated(rows, lived.metrics),
        "ticks_missed": sum(status.ticks_missed for status in lived.statuses),
        "bytes_up": sum(row["bytes"] for row in rows),
        "bytes_down": sum(line["bytes"] for line in lived.installed),
        "time_scale": dict(lived.time_scale),
        "latency_s": latencies(
            rows,
            lived.releases,
            [status.robot for status in lived.statuses],
            lived.metrics,
            lived.installed,
            lived.clock,
        ),
    }


def lost(statuses: Iterable[RobotStatus], rows: Sequence[Row]) -> int:
    """Episodes that robots brought to an end and that the hub does not have."""
    held = Counter(row["robot"] for row in rows)
    return sum(max(status.episodes - held[status.robot], 0) for status in statuses)


def duplicated(rows: Sequence[Row], metrics: Iterable[Mapping[str, Any]]) -> int:
    """Episodes that the hub holds twice, under one id or under two (a robot never repeats a reset), or that the learner
    took for new twice."""
    counts = (
        Counter(row["id"] for row in rows),
        Counter((row["robot"], row["task"], row["seed"]) for row in rows),
        Counter(row["episode"] for row in metrics if row["kind"] == "first_draw"),
    )
    return max(sum(count - 1 for count in counter.values()) for counter in counts)
