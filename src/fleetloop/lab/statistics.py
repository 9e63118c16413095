"""What can be said of an arm from the episodes of its evaluations, and how sure it is.

Rates of one task or family have Wilson's interval. Means over tasks and differences between arms are bootstrapped
(Efron 1979, percentile intervals): seeds and resets are both drawn again, a reset for all seeds at once, because all
arms and seeds meet the same resets. A difference is taken reset by reset before that, so it is paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetloop.lab.evaluation import wilson

DRAWS = 2000
Values = npt.NDArray[np.float64]
Tried = Mapping[str, Sequence[Sequence[int]]]
"""By task, [site, success, ticks] of every episode."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in vars(self).items()}


def outcomes(seeds: Sequence[Tried], tasks: Sequence[str]) -> Values:
    """(seeds, tasks, episodes): 1 for a success."""
    return _column(seeds, tasks, 1)


def lengths(seeds: Sequence[Tried], tasks: Sequence[str]) -> Values:
    """(seeds, tasks, episodes): ticks."""
    return _column(seeds, tasks, 2)


def rate(won: Values) -> Estimate:
    """Of all these episodes together."""
    low, high = wilson(int(won.sum()), won.size)
    return Estimate(float(won.mean()), low, high)


def mean(values: Values) -> Estimate:
    """Over tasks and seeds, each counting the same."""
    return _estimate(values.mean(), _drawn(values).mean(axis=(1, 2, 3)))


def per_hour(won: Values, ticks: Values, hz: float) -> Estimate:
    """Successes in an hour of driving, resets apart."""
    drawn = _drawn(np.stack([won, ticks], axis=-1)).sum(axis=(1, 2, 3))
    return _estimate(won.sum() / ticks.sum() * hz * 3600, drawn[:, 0] / drawn[:, 1] * hz * 3600)


def gap_closed(before: Values, after: Values, expert: Values) -> Estimate | None:
    """The share of the way from `before` to the expert; None where there is no way to go."""
    if expert.mean() <= before.mean():
        return None
    seeds = [np.broadcast_to(item, after.shape) for item in (before, after, expert)]
    low, high, most = _drawn(np.stack(seeds, axis=-1)).mean(axis=(1, 2, 3)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (high - low) / (most - low)
    shares = shares[np.isfinite(shares)]
    return _estimate((after.mean() - before.mean()) / (expert.mean() - before.mean()), shares)


def bootstrap(values: Sequence[float]) -> Estimate | None:
    """The mean of one figure per seed; None if there is none."""
    found = np.array(values, float)
    if not len(found):
        return None
    rng = np.random.default_rng(0)
    return _estimate(found.mean(), found[rng.integers(len(found), size=(DRAWS, len(found)))].mean(axis=1))


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
    rng = np.random.default_rng(0)
    seed = rng.integers(seeds, size=(DRAWS, seeds, 1, 1))
    episode = rng.integers(episodes, size=(DRAWS, 1, tasks, episodes))
    drawn: Values = values[seed, np.arange(tasks)[None, None, :, None], episode]
    return drawn


def _estimate(value: Any, drawn: npt.NDArray[Any]) -> Estimate:
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (value, value)
    return Estimate(float(value), float(low), float(high))
