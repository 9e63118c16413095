"""Contiguous arrays that grow: in memory, or mapped onto a file where they would be too large for it."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetloop.core.disk import disk_trouble
from fleetloop.core.frame import Array

FIRST_BYTES = 1 << 16  # claimed at least


class Column:
    """Rows of one shape and dtype, appended in amortised constant time.

    With a `file`, the rows live there and the operating system decides which of them are in memory. Its blocks are
    claimed before they are written, so that a full disk is an error and not a crash. The file is scratch: it is not
    read again by another process.

    Raises:
        DiskTrouble: on growing, if the file can't.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, file: Path | None = None) -> None:
        self._shape, self._dtype, self._file = shape, np.dtype(dtype), file
        self._size = 0
        self._data: Array = np.empty((0, *shape), self._dtype)
        if file is not None:
            file.unlink(missing_ok=True)

    def __len__(self) -> int:
        return self._size

    @property
    def row_bytes(self) -> int:
        """Of one row."""
        return self._dtype.itemsize * int(np.prod(self._shape, dtype=int))

    @property
    def rows(self) -> Array:
        """(n, …): a view of what was appended."""
        return self._data[: self._size]

    def extend(self, values: npt.ArrayLike) -> None:
        """Append (k, …) rows."""
        added = np.asarray(values, self._dtype)
        start = self._size
        self.lengthen(start + len(added))
        self._data[start : self._size] = added

    def append(self, row: object) -> None:
        """Append one; of a structured dtype, a tuple."""
        self.lengthen(self._size + 1)
        self._data[self._size - 1] = row

    def lengthen(self, size: int) -> None:
        """Make it `size` rows long, not fewer than it has; what the new ones hold is undefined."""
        if size > len(self._data):
            spare = len(self._data) // 4 if self._file else len(self._data)  # on a disk it is claimed at once
            self._grow(max(size, len(self._data) + spare, FIRST_BYTES // max(self.row_bytes, 1)))
        self._size = size

    def _grow(self, capacity: int) -> None:
        if self._file is None:
            grown = np.empty((capacity, *self._shape), self._dtype)
            grown[: self._size] = self.rows
            self._data = grown
            return
        size = max(capacity * self.row_bytes, 1)
        try:
            with self._file.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise disk_trouble(self._file, error) from error
        # A plain view: a memmap would make an object of its own of every slice.
        self._data = np.asarray(np.memmap(self._file, self._dtype, "r+", shape=(capacity, *self._shape)))
