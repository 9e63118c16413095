"""Hand-made rows, releases and scores for the demo's tests."""

from typing import Any

from fleetloop.cli.demo.figures import MEASURED
from fleetloop.core.hub import RobotStatus
from fleetloop.core.release import Release
from fleetloop.lab.evaluation import Score, wilson


def row(id: str, robot: str = "r1", *, release: int = 1, first: float = 0.0, last: float = 10.0, **more: Any) -> Any:
    """A catalog row of an online episode that the policy finished alone."""
    made = {
        "id": id,
        "robot": robot,
        "task": "box/walls",
        "seed": hash((id, robot)),
        "outcome": "success",
        "frames": 100,
        "frames_human": 0,
        "interventions": 0,
        "takeover_ends_s": [],
        "first_clock_s": first,
        "last_clock_s": last,
        "release_min": release,
        "release_max": release,
        "bytes": 1000,
    }
    return {**made, **more}


def release(version: int, *, covers: tuple[str, ...] = (), clock_s: float = 0.0) -> Release:
    return Release(
        run="demo",
        step=25 * version,
        parent=version - 1,
        trained_through=0,
        policy={},
        spec={},
        spec_hash="",
        config_hash="",
        statistics_hash="",
        conditions=(),
        tensors=(),
        encodings=(),
        result_hash="",
        clock_s=clock_s,
        version=version,
        covers=covers,
    )


def robot(name: str, episodes: int = 0, **more: Any) -> RobotStatus:
    return RobotStatus(name, "running", episodes=episodes, **more)


def score(successes: int, episodes: int = 40) -> Score:
    low, high = wilson(successes, episodes)
    return Score(episodes, successes, successes / episodes, low, high, 0.0, 0.0, 0.0)


def measured(before: int, after: int, control: int, expert: int) -> dict[str, dict[str, Score]]:
    counts = zip(MEASURED, (before, after, control, expert), strict=True)
    return {name: {"box/walls": score(count)} for name, count in counts}
