"""Somebody who stands beside a spool and notes every recording that was ever there, and how much of it."""

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from fleetloop.core.recording import PARTIAL, SEALED

LOOK_EVERY_S = 0.02  # an episode stays for a second at least


class Witness:
    """On a thread of its own.

    Attributes:
        frames: the id of every file that had a byte in it -> the most whole frames that were ever seen in it.
    """

    def __init__(self, spool: Path) -> None:
        self.frames: dict[str, int] = {}
        self._sizes: dict[Path, int] = {}
        self._spool, self._stop = spool, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="chaos-witness", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Read what has grown since the last look."""
        for path in [*self._spool.glob(f"*{PARTIAL}"), *self._spool.glob(f"*{SEALED}")]:
            size = _size(path)
            if size > self._sizes.get(path, 0):
                self._sizes[path] = size
                self.frames[path.stem] = max(self.frames.get(path.stem, 0), frames_in(path))

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            self.look()


def frames_in(path: Path) -> int:
    """Whole frames in a recording or a sealed episode, torn or not; 0 if it is gone or its head can't be read.

    Read as any reader of Arrow would, and not by what is to be watched.
    """
    count = 0
    with suppress(OSError, pa.ArrowException):  # a tail that is torn, or still being written
        data = path.read_bytes()
        if path.suffix == SEALED:
            return int(pa.ipc.open_file(data).read_all().num_rows)
        for batch in pa.ipc.open_stream(data):
            count += batch.num_rows
    return count


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # the courier was quicker; it was seen as a recording before
        return 0
