"""Which corrections a release covers: enough of them were drawn before it went out."""

from collections.abc import Iterable

from fleetloop.learner.buffer.samples import Samples
from fleetloop.learner.buffer.table import Table

COVERED_SAMPLES = 32


class Coverage:
    """Online episodes with corrections that no published release covers yet, in order of admission."""

    def __init__(self, table: Table, samples: Samples) -> None:
        self._table, self._samples = table, samples
        self._waiting: dict[int, None] = {}
        self._left_out: set[int] = set()  # while they waited

    def waits(self, number: int) -> bool:
        """Or did, until it was left out."""
        return number in self._waiting or number in self._left_out

    def add(self, number: int) -> None:
        """One that has corrections."""
        self._waiting[number] = None

    def drop(self, number: int) -> None:
        if number in self._waiting:
            del self._waiting[number]
            self._left_out.add(number)

    @property
    def ids(self) -> list[str]:
        return [self._table.name(number) for number in self._waiting]

    def covered(self) -> tuple[str, ...]:
        """Those of which 32 different human frames were drawn, or all that can be where there are fewer."""
        return tuple(self._table.name(number) for number in self._waiting if self._enough_drawn(number))

    def announce(self, episodes: Iterable[str]) -> None:
        """These are covered by a published release."""
        told = set(episodes)
        self._waiting = {number: None for number in self._waiting if self._table.name(number) not in told}

    def keep(self, episodes: Iterable[str]) -> None:
        """Only these wait."""
        waiting = set(episodes)
        self._waiting = {number: None for number in self._waiting if self._table.name(number) in waiting}

    def _enough_drawn(self, number: int) -> bool:
        row, samples = self._table.rows[number], self._samples
        span = slice(row["first"], row["last"])
        human = samples.facts["human"][span] & (samples.weight[span] > 0)
        drawn = human & (samples.draws[span] > 0)
        return int(drawn.sum()) >= min(COVERED_SAMPLES, int(human.sum()))
