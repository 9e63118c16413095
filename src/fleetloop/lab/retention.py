"""What a policy has forgotten: the base and a release on the same resets, and the loss between them with its interval.

The interval is Tango's score interval for a difference of paired proportions (Tango 1998, Statistics in Medicine 17,
891-908): it keeps its coverage where nearly all pairs agree, as they do here, and where none differs at all.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from fleetloop.lab.evaluation import Z95, Tried

HALVINGS = 60  # of the interval that a bound is sought in: beyond a double's precision


@dataclass(frozen=True)
class Retained:
    """Pairs of episodes from the same resets.

    Attributes:
        episodes: pairs; base, release: success rates.
        lost, gained: pairs of which only the base, or only the release, succeeded.
        loss: base minus release; low, high: its two-sided 95 % interval, so that `high` is the upper bound.
    """

    episodes: int
    base: float
    release: float
    lost: int
    gained: int
    loss: float
    low: float
    high: float


def retained(base: Sequence[Tried], release: Sequence[Tried]) -> Retained:
    """Raises ValueError if the two did not meet the same resets in the same order."""
    pairs = list(zip(base, release, strict=True))
    if any((one.task, one.site, one.seed) != (two.task, two.site, two.seed) for one, two in pairs):
        raise ValueError("the two were not tried on the same resets")
    lost = sum(one.success and not two.success for one, two in pairs)
    gained = sum(two.success and not one.success for one, two in pairs)
    count = len(pairs)
    low, high = tango(lost, gained, count)
    return Retained(
        episodes=count,
        base=sum(one.success for one in base) / count,
        release=sum(two.success for two in release) / count,
        lost=lost,
        gained=gained,
        loss=(lost - gained) / count,
        low=low,
        high=high,
    )


def by_task(base: Sequence[Tried], release: Sequence[Tried]) -> dict[str, Retained]:
    """In the order in which `evaluate` returns them."""
    other = {task: list(group) for task, group in groupby(release, key=lambda item: item.task)}
    return {task: retained(list(group), other[task]) for task, group in groupby(base, key=lambda item: item.task)}


def report(tasks: Mapping[str, Retained], together: Retained) -> dict[str, Any]:
    """As JSON: each task, and all pairs together."""
    return {
        "method": "Tango's score interval for paired proportions, two-sided 95 %",
        "tasks": {task: asdict(item) for task, item in tasks.items()},
        "together": asdict(together),
    }


def tango(lost: int, gained: int, pairs: int) -> tuple[float, float]:
    """The 95 % score interval of (lost - gained) / pairs."""
    estimate = (lost - gained) / pairs

    def too_far(difference: float) -> bool:
        return abs(_score(lost, gained, pairs, difference)) > Z95

    return _bound(estimate, -1.0, too_far), _bound(estimate, 1.0, too_far)


def _score(lost: int, gained: int, pairs: int, difference: float) -> float:
    """Tango's statistic of a supposed difference; its variance is from the constrained maximum-likelihood estimate."""
    b = (2 * pairs - lost + gained) * difference - lost - gained
    c = -gained * difference * (1 - difference)
    constrained = (math.sqrt(max(b * b - 8 * pairs * c, 0.0)) - b) / (4 * pairs)
    variance = pairs * (2 * constrained + difference * (1 - difference))
    excess = lost - gained - pairs * difference
    if variance <= 0:
        return 0.0 if excess == 0 else math.copysign(math.inf, excess)
    return excess / math.sqrt(variance)


def _bound(inside: float, outside: float, too_far: Callable[[float], bool]) -> float:
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if too_far(middle) else (middle, outside)
    return inside
