"""What can be said of an arm from the episodes of its evaluations, and how sure it is.

With several seeds, rates and differences between arms are bootstrapped (Efron 1979, percentile intervals): seeds and
resets are both drawn again, a reset for all seeds at once, because all arms and seeds meet the same resets. A
difference is taken reset by reset before that, so it is paired. Drawing k of k seeds again shows only (k - 1) / k of
their variance, so they are drawn from as many that lie sqrt(k / (k - 1)) as far from their mean. With one seed, and
where all that could be drawn is alike, a bootstrap would be too sure of itself: there rates have Wilson's interval and
paired differences Tango's, over the resets. With one seed no interval tells how much another seed would differ.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetloop.lab.evaluation import wilson
from fleetloop.lab.retention import tango

DRAWS = 2000
Values = npt.NDArray[np.float64]
Tried = Mapping[str, Sequence[Sequence[int]]]
"""By task, [site, success, ticks] of every episode."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN where there is no telling."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f}" + (f" [{self.low:.2f}, {self.high:.2f}]" if math.isfinite(self.low) else "")

    def rounded(self) -> str:
        """For what is counted in hundreds."""
        return f"{self.value:.0f}" + (f" [{self.low:.0f}, {self.high:.0f}]" if math.isfinite(self.low) else "")

    def to_json(self) -> dict[str, float | None]:
        return {name: round(value, 4) if math.isfinite(value) else None for name, value in vars(self).items()}


def outcomes(seeds: Sequence[Tried], tasks: Sequence[str]) -> Values:
    """(seeds, tasks, episodes): 1 for a success."""
    return _column(seeds, tasks, 1)


def lengths(seeds: Sequence[Tried], tasks: Sequence[str]) -> Values:
    """(seeds, tasks, episodes): ticks."""
    return _column(seeds, tasks, 2)


def rate(won: Values) -> Estimate:
    """Success over (seeds, tasks, episodes), each task and seed counting the same."""
    value = float(won.mean())
    if one_seed(won) or value in (0.0, 1.0):
        resets = won[0].size
        return Estimate(value, *wilson(round(value * resets), resets))
    return _estimate(value, np.clip(_drawn(won).mean(axis=(1, 2, 3)), 0, 1))


def paired(one: Values, other: Values) -> Estimate:
    """By how much `one` succeeds more often on the same resets; both are (seeds, tasks, episodes)."""
    better = one - other
    if one_seed(better) or np.ptp(better) == 0:
        low, high = tango(int((better[0] > 0).sum()), int((better[0] < 0).sum()), better[0].size)
        return Estimate(float(better.mean()), low, high)
    return _estimate(better.mean(), _drawn(better).mean(axis=(1, 2, 3)))


def one_seed(values: Values) -> bool:
    """Whether nothing is known of how much another seed would differ."""
    return len(values) == 1


def per_hour(won: Values, ticks: Values, hz: float) -> Estimate:
    """Successes in an hour of driving, resets apart. Always bootstrapped; of one seed, over the resets."""
    drawn = _drawn(np.stack([won, ticks], axis=-1)).sum(axis=(1, 2, 3))
    return _estimate(won.sum() / ticks.sum() * hz * 3600, drawn[:, 0] / drawn[:, 1] * hz * 3600)


def gap_closed(before: Values, after: Values, expert: Values) -> Estimate | None:
    """The share of the way from `before` to the expert; None where it is not sure that there is a way to go.

    Always bootstrapped; of one seed, over the resets.
    """
    seeds = [np.broadcast_to(item, after.shape) for item in (before, after, expert)]
    if paired(seeds[2], seeds[0]).low <= 0:
        return None
    low, high, most = _drawn(np.stack(seeds, axis=-1)).mean(axis=(1, 2, 3)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (high - low) / (most - low)
    shares = shares[np.isfinite(shares)]
    return _estimate((after.mean() - before.mean()) / (expert.mean() - before.mean()), shares)


def crossing(minutes: Sequence[float], rates: Sequence[float], target: float, window: int) -> float | None:
    """When the mean of the last `window` rates reached the target first, interpolated; None if it never did."""
    if len(rates) < window:
        return None
    smooth = np.convolve(rates, np.ones(window) / window, mode="valid")
    times = np.asarray(minutes, float)[window - 1 :]
    above = np.flatnonzero(smooth >= target)
    if not len(above):
        return None
    first = int(above[0])
    if first == 0:
        return float(times[0])
    part = (target - smooth[first - 1]) / (smooth[first] - smooth[first - 1])
    return float(times[first - 1] + part * (times[first] - times[first - 1]))


def _column(seeds: Sequence[Tried], tasks: Sequence[str], index: int) -> Values:
    return np.array([[[episode[index] for episode in tried[task]] for task in tasks] for tried in seeds], float)


def _drawn(values: Values) -> Values:
    """(draws, seeds, tasks, episodes, …): seeds and resets drawn with replacement."""
    seeds, tasks, episodes = values.shape[:3]
    if seeds > 1:
        mean = values.mean(axis=0, keepdims=True)
        values = mean + math.sqrt(seeds / (seeds - 1)) * (values - mean)
    rng = np.random.default_rng(0)
    seed = rng.integers(seeds, size=(DRAWS, seeds, 1, 1))
    episode = rng.integers(episodes, size=(DRAWS, 1, tasks, episodes))
    drawn: Values = values[seed, np.arange(tasks)[None, None, :, None], episode]
    return drawn


def _estimate(value: Any, drawn: npt.NDArray[Any]) -> Estimate:
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (math.nan, math.nan)
    if low == high:  # all that could be drawn is alike, which says nothing
        low = high = math.nan
    return Estimate(float(value), float(low), float(high))
