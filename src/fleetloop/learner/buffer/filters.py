"""Which episodes train, of those that are held: judged anew whenever something is said about one."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import Array
from fleetloop.learner.buffer.table import OUTCOMES, TRAINS, Names
from fleetloop.learner.options import FilterOptions

REASONS = ("outcome", "judge", "quality", "site", "robot", "staleness")


class Filter:
    """One part's filter. An episode is left out for the first of REASONS that holds.

    Attributes:
        idle: whether it leaves nothing out, whatever comes.
    """

    def __init__(self, options: FilterOptions, most_staleness: int | None = None) -> None:
        self._options = FilterOptions(**options.model_dump(include=set(FilterOptions.model_fields)))
        self._most_staleness = most_staleness
        self.idle = most_staleness is None and self._options == FilterOptions()

    def reasons(self, episodes: Array, sites: Names, robots: Names, release: int) -> npt.NDArray[np.int8]:
        """(n,): TRAINS, or one more than the place in REASONS, of n rows of the buffer's table.

        `release`: the newest one that is published.
        """
        found = np.full(len(episodes), TRAINS, np.int8)
        for place, out in reversed(list(enumerate(self._left_out(episodes, sites, robots, release), start=1))):
            if out is not None:
                found[out] = place
        return found

    @property
    def depends_on_release(self) -> bool:
        return self._most_staleness is not None

    def _left_out(
        self, episodes: Array, sites: Names, robots: Names, release: int
    ) -> tuple[npt.NDArray[np.bool_] | None, ...]:
        """In the order of REASONS; None where the options ask for nothing."""
        options = self._options
        outcomes = [OUTCOMES.index(outcome) for outcome in options.outcomes]
        rank = options.least_judge.rank if options.least_judge else None
        return (
            ~np.isin(episodes["outcome"], outcomes) if outcomes else None,
            episodes["judge"] < rank if rank is not None else None,
            episodes["quality"] < options.least_quality if options.least_quality is not None else None,
            _unwanted(episodes["site"], sites, options.sites, options.except_sites),
            _unwanted(episodes["robot"], robots, options.robots, options.except_robots),
            release - episodes["release"] > self._most_staleness if self._most_staleness is not None else None,
        )


def counts(reasons: npt.NDArray[np.int8]) -> Mapping[str, int]:
    """By reason, for how many episodes it holds; only those that do."""
    found = np.bincount(reasons, minlength=len(REASONS) + 1)[1:].tolist()
    return {name: count for name, count in zip(REASONS, found, strict=True) if count}


def _unwanted(
    numbers: npt.NDArray[np.int32], names: Names, wanted: tuple[str, ...], unwanted: tuple[str, ...]
) -> npt.NDArray[np.bool_] | None:
    if not wanted and not unwanted:
        return None
    out = np.isin(numbers, names.numbers(unwanted))
    return out | ~np.isin(numbers, names.numbers(wanted)) if wanted else out
