"""How fast fleets of different sizes got there: time to target, speed-up, and success at equal data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np

from fleetloop.lab.results import ArmResults, Results
from fleetloop.lab.statistics import crossing
from fleetloop.lab.tables import NOTHING, table

TARGET, WINDOW = 0.8, 3
SMOOTHER = (5, 10)  # other windows, which show how much hangs on this one
SAID = """\
The mean of the last {window} evaluations, one every {watch_every_s:g} simulated seconds on the first {watch_episodes}
of each task's resets, first at {target} or above; given only if every seed got there. A first crossing hangs on chance:
speed-ups over more evaluations stand beside it, although none can come before as many are there, which makes the
largest fleets' smaller. Speed-ups are over the seeds that the arm and the one robot both have; in parentheses seed by
seed. Equal data: when each fleet has worked {equal:.0f} robot-minutes, as the smallest has in its whole run. The larger
the fleet, the fewer steps the learner has taken by then; and the same number of people have more to do.
"""


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
        """Success at a minute: the mean over WINDOW points around it, interpolated; None beyond the curve."""
        first, last = self.minutes[0], self.minutes[-1]
        if not first <= minute <= last + 1e-9:
            return None
        step = (last - first) / max(1, len(self.minutes) - 1)
        around = minute + step * (np.arange(WINDOW) - WINDOW // 2)
        return float(np.interp(around, self.minutes, self.rates).mean())  # past its ends a curve stays as it is there


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
    equal = min(curve.minutes[-1] * sizes[name] for name, found in watched.items() for curve in found.values())
    setting, rows = results.any["setting"], list[list[str]]()
    for name, found in watched.items():
        time, minute = mean_time(found), equal / sizes[name]
        reached = sum(curve.target() is not None for curve in found.values())
        rates = [rate for curve in found.values() if (rate := curve.at(minute)) is not None]
        cells = [str(sizes[name]), f"{time:.1f}" if time else NOTHING, f"{reached} of {len(found)} seeds"]
        cells += [speed_up(alone, found, window) for window in (WINDOW, *SMOOTHER)]
        rows.append([name, *cells, _each(rates, ".2f"), f"{minute * 60 * setting['steps_per_s']:.0f}"])
    heads = ["arm", "robots", f"minutes to {TARGET}", "reached in"]
    heads += [f"speed-up, over {window}" for window in (WINDOW, *SMOOTHER)]
    told = SAID.format(target=TARGET, window=WINDOW, equal=equal, **setting)
    return f"{told}\n{table([*heads, 'success at equal data', 'learner’s steps by then'], rows)}"


def mean_time(found: Curves, window: int = WINDOW) -> float | None:
    """Only if every seed got there: a mean over those that did would flatter."""
    times = [curve.target(window) for curve in found.values()]
    return float(np.mean([time for time in times if time is not None])) if found and None not in times else None


def speed_up(alone: Curves, found: Curves, window: int = WINDOW) -> str:
    """How much sooner than one robot, over the seeds that both have, as text."""
    both = sorted(alone.keys() & found.keys())
    slowest, time = (mean_time({seed: one[seed] for seed in both}, window) for one in (alone, found))
    if not slowest or not time:
        return NOTHING
    by_seed = [_time(alone[seed], window) / _time(found[seed], window) for seed in both]
    return f"{slowest / time:.1f}x" + (f" ({', '.join(f'{ratio:.1f}' for ratio in by_seed)})" if len(both) > 1 else "")


def _time(curve: Curve, window: int) -> float:
    """Of a curve that got there."""
    time = curve.target(window)
    assert time is not None
    return time


def _each(values: Sequence[float], form: str) -> str:
    """The mean, and each seed's."""
    if not values:
        return NOTHING
    each = ", ".join(format(value, form) for value in values)
    return format(fmean(values), form) + (f" ({each})" if len(values) > 1 else "")
