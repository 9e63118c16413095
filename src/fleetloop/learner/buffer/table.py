"""What is known of every episode that the buffer has taken in: a row each, so that a million of them fit in memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import overload

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from fleetloop.core.frame import Array
from fleetloop.core.outcome import Outcome
from fleetloop.learner.buffer.columns import Column
from fleetloop.learner.buffer.entry import Entry


class Part(IntEnum):
    """Where a task's samples go."""

    OFFLINE = 0
    ONLINE = 1
    HELD_OUT = 2


OUTCOMES = tuple(Outcome)
NONE = -1
TRAINS = 0  # the reason of an episode that no filter leaves out
EPISODE = np.dtype(
    [
        ("key", np.int64),  # of its id: the same in every process
        ("first", np.int64),  # its samples are [first, last)
        ("last", np.int64),
        ("task", np.int32),
        ("span", np.int32),  # its spans in the pool of its task and part are [span, span_stop)
        ("span_stop", np.int32),
        ("instruction", np.int32),
        ("site", np.int32),
        ("robot", np.int32),
        ("release", np.int32),  # the newest that it ran under
        ("quality", np.float32),  # NaN: nobody said
        ("part", np.int8),
        ("outcome", np.int8),  # place among OUTCOMES
        ("judge", np.int8),  # rank of whoever judged the outcome
        ("reason", np.int8),  # why a filter leaves it out; see filters.py
        ("retired", np.bool_),
        ("forgotten", np.bool_),
        ("before", np.int32),  # number of the row of the time before; NONE if it came once
    ]
)


@dataclass(frozen=True, slots=True)
class Held:
    """What the buffer holds of one episode: samples [first, last) of one part of one task."""

    id: str
    task: int
    part: Part
    first: int
    last: int


class Names:
    """Texts that repeat, by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []

    def number(self, name: str) -> int:
        """A new one if it was not seen before."""
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def name(self, number: int) -> str:
        return self._names[number]

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Of those that were seen."""
        return [self._numbers[name] for name in names if name in self._numbers]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)


class Table(Sequence[Held]):
    """Episodes by number, in order of admission. One that came again has a row for each time; the newest counts.

    Attributes:
        instructions, sites, robots: what the numbers in the rows stand for.
    """

    def __init__(self) -> None:
        self.instructions, self.sites, self.robots = Names(), Names(), Names()
        self._ids: list[str] = []
        self._newest: dict[str, int] = {}
        self._rows = Column((), EPISODE)

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, number: int) -> Held: ...

    @overload
    def __getitem__(self, number: slice) -> list[Held]: ...

    def __getitem__(self, number: int | slice) -> Held | list[Held]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        row = self._rows.rows[number]
        return Held(self._ids[number], int(row["task"]), Part(row["part"]), int(row["first"]), int(row["last"]))

    @property
    def rows(self) -> Array:
        """(n,) EPISODE: a view."""
        return self._rows.rows

    def find(self, id: str) -> int | None:
        """The number of the newest row of an episode."""
        return self._newest.get(id)

    def samples_of(self, id: str) -> int:
        """How many there are of an episode; 0 if it never came."""
        number = self.find(id)
        return 0 if number is None else self[number].last - self[number].first

    def name(self, number: int) -> str:
        """The episode's id."""
        return self._ids[number]

    def spans(self, number: int) -> slice:
        """The episode's, in the pool of its task and part."""
        row = self.rows[number]
        return slice(int(row["span"]), int(row["span_stop"]))

    def append(self, entry: Entry, first: int, task: int, part: Part, spans: slice) -> None:
        """A row for an episode whose samples begin at `first`, and whose spans are these in the pool of its part."""
        row = (
            int.from_bytes(blake3(entry.id.encode()).digest(8), signed=True),
            first,
            first + len(entry.facts),
            task,
            spans.start,
            spans.stop,
            self.instructions.number(entry.instruction),
            self.sites.number(entry.site),
            self.robots.number(entry.robot),
            entry.release,
            np.nan if entry.quality is None else entry.quality,
            part,
            OUTCOMES.index(entry.outcome),
            entry.judge.rank,
            TRAINS,
            False,
            False,
            self._newest.get(entry.id, NONE),
        )
        self._newest[entry.id] = len(self._ids)
        self._ids.append(entry.id)
        self._rows.append(row)

    def forget(self, id: str) -> None:
        """No restart will meet this episode again."""
        for number in self.times(self.find(id)):
            self.rows["forgotten"][number] = True

    def times(self, number: int | None) -> Iterator[int]:
        """The numbers of the rows of an episode that came again and again, from this one back to the first."""
        number = NONE if number is None else number
        while number != NONE:
            yield number
            number = int(self.rows["before"][number])

    def ledger(self, last: int | None = None) -> npt.NDArray[np.int64]:
        """(rows, 2): the key and the number of samples of every row that is not forgotten, of the first `last`."""
        rows = self.rows[:last][~self.rows["forgotten"][:last]]
        return np.stack([rows["key"], rows["last"] - rows["first"]], axis=1)

    @property
    def remembered(self) -> npt.NDArray[np.bool_]:
        """(samples,): whether each belongs to an episode that is not forgotten."""
        return np.repeat(~self.rows["forgotten"], self.rows["last"] - self.rows["first"])
