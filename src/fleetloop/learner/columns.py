"""Contiguous arrays that grow: in memory, or mapped onto a file where they would be too large for it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import Array

FIRST_CAPACITY = 1024


class Column:
    """Rows of one shape and dtype, appended in amortised constant time.

    With a `file`, the rows live there and the operating system decides which of them are in memory. The file is
    scratch: it is not read again by another process.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, file: Path | None = None) -> None:
        self._shape, self._dtype, self._file = shape, np.dtype(dtype), file
        self._size = 0
        self._data: Array = self._allocate(FIRST_CAPACITY)

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> Array:
        """(n, …): a view of what was appended."""
        return self._data[: self._size]

    def extend(self, values: npt.ArrayLike) -> None:
        """Append (k, …) rows."""
        added = np.asarray(values, self._dtype)
        size = self._size + len(added)
        if size > len(self._data):
            self._grow(max(size, 2 * len(self._data)))
        self._data[self._size : size] = added
        self._size = size

    def keep(self, wanted: npt.NDArray[np.bool_]) -> None:
        """Drop the rows for which `wanted` is False; the others stay in order."""
        kept = self.rows[wanted]
        self._data[: len(kept)] = kept
        self._size = len(kept)

    def _grow(self, capacity: int) -> None:
        old = self.rows
        self._data = self._allocate(capacity)
        if self._file is None:
            self._data[: len(old)] = old

    def _allocate(self, capacity: int) -> Array:
        if self._file is None:
            return np.empty((capacity, *self._shape), self._dtype)
        size = capacity * self._dtype.itemsize * int(np.prod(self._shape, dtype=int))
        with self._file.open("ab") as file:
            file.truncate(size)
        return np.memmap(self._file, self._dtype, "r+", shape=(capacity, *self._shape))
