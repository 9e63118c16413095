"""What batches are made of: state, what was seen, the actions ahead. As much of it is at hand as there is room for.

One row per sample, in columns that a sample is found in by its slot. Rows come and go by whole episodes: those not
drawn from for the longest make room, and are loaded anew when they are drawn. A sample's payload never changes.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from fleetloop.core.errors import DiskTrouble
from fleetloop.core.frame import Array
from fleetloop.learner.buffer.columns import Column
from fleetloop.learner.buffer.samples import Ids

log = logging.getLogger(__name__)

Rows = Mapping[str, Array]
"""By column, (n, …) each: `NAME.state`, `NAME.seen` and `actions`."""
STATE, SEEN, ACTIONS = ".state", ".seen", "actions"
ABSENT = -1
NEVER = np.iinfo(np.int64).max
Load = Callable[[int], tuple[int, Rows]]
"""An episode's number -> its first sample, and the rows of all its samples."""


class Memory:
    """Arrays that are filled again and again, so that no batch waits for the system to find it room."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def knows(self, names: Iterable[str]) -> bool:
        """Whether all of these were asked for before."""
        return self._arrays.keys() >= set(names)

    def rows(self, name: str, count: int, like: Array) -> Array:
        """(count, …) of the shape and dtype of the rows of `like`; what an earlier call returned is void."""
        held = self._arrays.get(name)
        if held is None or len(held) < count or held.shape[1:] != like.shape[1:] or held.dtype != like.dtype:
            held = self._arrays[name] = np.empty((count, *like.shape[1:]), like.dtype)
        return held[:count]


class Payload:
    """Rows of samples, at most `most_bytes` of them at hand.

    Args:
        load: makes the rows of an episode that has none at hand.
        scratch: a directory to keep them in; None for memory.
        most_bytes: None for no limit. A disk that is full is a limit too.

    Attributes:
        columns: by name, a row per slot; loaded: episodes that were drawn and had to be loaded.
    """

    def __init__(self, load: Load, *, scratch: Path | None = None, most_bytes: int | None = None) -> None:
        self.loaded = 0
        self._load, self._scratch, self._most_bytes = load, scratch, most_bytes
        self._slots = self._column("slots", (), np.int32)
        self.columns: dict[str, Column] = {}
        self._size = self._used = 0  # slots that there are, and those of them that ever held something
        self._free: list[int] = []  # of the used ones
        self._held: dict[int, slice] = {}  # its samples, by episode number
        self._used_at = Column((), np.int64)  # by episode number: the use of it that was last, NEVER if not at hand
        self._uses = 0
        self._full = False  # the disk is

    @property
    def row_bytes(self) -> int:
        """Of one sample."""
        return sum(column.row_bytes for column in self.columns.values())

    @property
    def held_bytes(self) -> int:
        """Of what is at hand."""
        return (self._used - len(self._free)) * self.row_bytes

    def holds(self, number: int) -> bool:
        """Whether an episode's rows are at hand."""
        return number in self._held

    # ------------------------------------------------------------------ in

    def admit(self, samples: int) -> None:
        """So many more samples are there, none of them at hand."""
        start = len(self._slots)
        self._slots.lengthen(start + samples)
        self._slots.rows[start:] = ABSENT

    def put(self, number: int, first: int, rows: Rows) -> None:
        """Keep the rows of an episode whose samples begin at `first`; unless it alone needs more room than there is."""
        self._know(rows)
        count = len(rows[ACTIONS])
        if not self._make_room(count):
            return
        slots = self._take_slots(count)
        for name, column in self.columns.items():
            column.rows[slots] = _fitting(rows, name, column.rows)
        self._slots.rows[first : first + count] = slots
        self._hold(number, slice(first, first + count))

    def drop(self, number: int) -> None:
        """Have this episode no longer at hand."""
        span = self._held.pop(number, None)
        if span is not None:
            slots = self._slots.rows[span]
            self._free += slots[::-1].tolist()
            slots[:] = ABSENT
            self._used_at.rows[number] = NEVER

    def move(self, before: int, number: int, first: int) -> None:
        """The same samples are held under another number now, and begin at `first`."""
        span = self._held.pop(before, None)
        if span is not None:
            moved = slice(first, first + span.stop - span.start)
            self._slots.rows[moved] = self._slots.rows[span]
            self._slots.rows[span] = ABSENT
            self._used_at.rows[before] = NEVER
            self._hold(number, moved)

    def _hold(self, number: int, span: slice) -> None:
        if (known := len(self._used_at)) <= number:
            self._used_at.lengthen(number + 1)
            self._used_at.rows[known:] = NEVER
        self._held[number] = span
        self._use(number)

    def _use(self, numbers: int | npt.NDArray[np.int32]) -> None:
        self._uses += 1
        self._used_at.rows[numbers] = self._uses

    def _drop_oldest(self) -> None:
        """Of what was used at once, the first."""
        self.drop(int(self._used_at.rows.argmin()))

    def _make_room(self, count: int) -> bool:
        """Have `count` free slots, by growing or by dropping what was not drawn for the longest."""
        while (lacking := count - len(self._free) - (self._size - self._used)) > 0:
            most = self._most_rows()
            if self._size < most:
                self._grow(min(self._size + lacking, most))
            elif self._held and count <= most:
                self._drop_oldest()
            else:
                return False
        return True

    def _take_slots(self, count: int) -> Ids:
        again = min(count, len(self._free))
        cut = len(self._free) - again
        taken, self._free = self._free[cut:], self._free[:cut]
        fresh = np.arange(self._used, self._used + count - again)
        self._used += count - again
        return np.concatenate([np.array(taken, np.int32), fresh]).astype(np.int32)

    def _most_rows(self) -> int:
        if self._full:
            return self._size
        return np.iinfo(np.int32).max if self._most_bytes is None else self._most_bytes // max(self.row_bytes, 1)

    def _grow(self, size: int) -> None:
        try:
            for column in self.columns.values():
                column.lengthen(size)
        except DiskTrouble:
            self._full = True  # what there is goes on being used
            return
        self._size = size

    def _know(self, rows: Rows) -> None:
        """The first episode says which columns there are; labels that only some robots record come later."""
        for name, values in rows.items():
            if name not in self.columns:
                column = self.columns[name] = self._column(name, values.shape[1:], values.dtype)
                column.lengthen(self._size)
                column.rows[:] = unknown(column.rows)
        while self._most_bytes is not None and self.held_bytes > self._most_bytes:
            self._drop_oldest()

    def _column(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Column:
        file = quote(name, safe="")  # what a robot calls its features is no path
        return Column(shape, dtype, self._scratch / file if self._scratch else None)

    # ------------------------------------------------------------------ out

    def take(
        self, samples: Ids, numbers: npt.NDArray[np.int32], memory: Memory, which: npt.NDArray[np.intp] | None = None
    ) -> Rows:
        """The rows of (n,) samples, of episodes by their (n,) numbers, in `memory`; with `which`, only those positions
        are copied: the others are there already.

        Raises what `load` raises; it may then be called again.
        """
        names = list(self.columns)
        if which is not None and not memory.knows(names):
            which = None
        picked, of = (samples, numbers) if which is None else (samples[which], numbers[which])
        out = {name: memory.rows(name, len(samples), column.rows) for name, column in self.columns.items()}
        slots = self._slots.rows.take(picked)
        for name, column in self.columns.items():
            _copy(column.rows, slots, out[name], which)
        absent = np.flatnonzero(slots == ABSENT)
        if not len(absent):
            self._use(of)
            return out
        self._use(of[slots != ABSENT])
        for number in np.unique(of[absent]).tolist():
            there = absent[of[absent] == number]
            self._load_into(out, number, samples, there if which is None else which[there])
        return out if names == list(self.columns) else self.take(samples, numbers, memory)

    def _load_into(self, out: Rows, number: int, samples: Ids, where: npt.NDArray[np.intp]) -> None:
        first, rows = self._load(number)
        self.loaded += 1
        self.put(number, first, rows)
        for name, array in out.items():
            known = _fitting(rows, name, array)
            array[where] = known[samples[where] - first] if known.ndim == array.ndim else known


def _fitting(rows: Rows, name: str, like: Array) -> Array:
    """The rows of this column; where they are no such rows as those of `like`, a label of another robot, unknown."""
    values = rows.get(name)
    if values is not None and values.shape[1:] == like.shape[1:]:
        return values
    if values is not None:
        log.warning("%s has the shape %s, not %s, and is taken for unknown", name, values.shape[1:], like.shape[1:])
    return unknown(like)


def unknown(like: Array) -> Array:
    """What stands where a robot recorded no such label: NaN, -1 for signed integers, else 0; one row, or its item."""
    return np.array({"f": np.nan, "i": -1}.get(like.dtype.kind, 0), like.dtype)


def _copy(rows: Array, slots: Ids, out: Array, which: npt.NDArray[np.intp] | None) -> None:
    """`out[which] = rows[slots]`, all of it for None; what is absent is left undefined."""
    if not len(rows):
        return
    if which is None:
        rows.take(slots, axis=0, out=out, mode="clip")  # any other mode would copy it twice
    else:
        out[which] = rows.take(slots, axis=0, mode="clip")
