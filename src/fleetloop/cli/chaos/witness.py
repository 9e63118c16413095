"""Somebody who stands beside a spool and notes every recording that was ever there with a frame in it."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from fleetloop.core.recording import PARTIAL, SEALED

LOOK_EVERY_S = 0.02  # an episode stays for a second at least


class Witness:
    """On a thread of its own.

    Attributes:
        seen: the ids.
    """

    def __init__(self, spool: Path) -> None:
        self.seen: set[str] = set()
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

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            for path in [*self._spool.glob(f"*{PARTIAL}"), *self._spool.glob(f"*{SEALED}")]:
                if path.stem not in self.seen and _size(path):
                    self.seen.add(path.stem)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # the courier was quicker; it was seen as a recording before
        return 0
