"""How fast fleets of different sizes got there: time to target, speed-up, and success at equal data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fleetloop.lab.results import ArmResults, Results
from fleetloop.lab.statistics import bootstrap, crossing
from fleetloop.lab.tables import NOTHING, table

TARGET, WINDOW = 0.8, 3
SMOOTHER = (5, 10)  # other windows, which show how much hangs on this one


@dataclass(frozen=True)
class Curve:
    """One run's success over time, averaged over the tasks."""

    minutes: list[float]
    rates: list[float]

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> "Curve":
        points = result["curve"]
        rates = [float(np.mean([won / tried for won, tried in point.values()])) for _, point in points]
        return cls([minute for minute, _ in points], rates)

    def target(self, window: int = WINDOW) -> float | None:
        """Minutes to the target, smoothed over so many points; None if it was never reached."""
        return crossing(self.minutes, self.rates, TARGET, window)

    def at(self, minute: float) -> float | None:
        """Success around a minute, over WINDOW points; None beyond the curve."""
        near = [rate for when, rate in zip(self.minutes, self.rates, strict=True) if when <= minute + 1e-9]
        return float(np.mean(near[-WINDOW:])) if len(near) >= WINDOW and self.minutes[-1] >= minute - 1e-9 else None


Curves: TypeAlias = Mapping[int, Curve]
"""By seed."""


def curves(arm: ArmResults) -> Curves:
    """Of the seeds that have any."""
    return {seed: Curve.of(result) for seed, result in arm.by_seed.items() if result.get("curve")}


def robots(arm: ArmResults) -> int:
    return int(next(iter(arm.by_seed.values()))["fleet"]["robots"])


def speeds(results: Results) -> str:
    """As Markdown; empty if no arm was watched."""
    watched = {name: found for name, arm in results.arms.items() if (found := curves(arm))}
    if not watched:
        return ""
    sizes = {name: robots(results.arms[name]) for name in watched}
    alone: Curves = next((found for name, found in watched.items() if sizes[name] == 1), {})
    rows = list[list[str]]()
    equal = min(
        (curve.minutes[-1] * sizes[name] for name, found in watched.items() for curve in found.values()), default=0.0
    )
    for name, found in watched.items():
        time = mean_time(found)
        reached = sum(curve.target() is not None for curve in found.values())
        rates = [rate for curve in found.values() if (rate := curve.at(equal / sizes[name])) is not None]
        share = bootstrap(rates)
        shown = f"{time:.1f}" if time else NOTHING
        reached_in = f"{reached} of {len(found)} seeds"
        speed_ups = [speed_up(alone, found, window) for window in (WINDOW, *SMOOTHER)]
        rows.append([name, str(sizes[name]), shown, reached_in, *speed_ups, str(share or NOTHING), f"{equal:.0f}"])
    said = (
        f"The mean of the last {WINDOW} evaluations, one every simulated minute on fixed resets, first at {TARGET} or "
        "above; given only if every seed got there. A first crossing hangs on chance: speed-ups over other numbers of "
        "evaluations stand beside it. Equal data: at the minute at which each fleet has worked as many robot-minutes "
        "as the smallest in its whole run. Speed-ups are over the seeds that the arm and the one robot both have.\n\n"
    )
    heads = ["arm", "robots", f"minutes to {TARGET}", "reached in"]
    heads += [f"speed-up, over {window}" for window in (WINDOW, *SMOOTHER)]
    return said + table([*heads, "success at equal data", "robot-minutes then"], rows)


def mean_time(found: Curves, window: int = WINDOW) -> float | None:
    """Only if every seed got there: a mean over those that did would flatter."""
    times = [curve.target(window) for curve in found.values()]
    return float(np.mean([time for time in times if time is not None])) if found and None not in times else None


def speed_up(alone: Curves, found: Curves, window: int = WINDOW) -> str:
    """How much sooner than one robot, over the seeds that both have, as text."""
    both = alone.keys() & found.keys()
    slowest, time = (mean_time({seed: one[seed] for seed in both}, window) for one in (alone, found))
    return f"{slowest / time:.1f}x" if slowest and time else NOTHING
