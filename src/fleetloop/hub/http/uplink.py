"""A cap on what uploads take of a robot's uplink."""

import threading
from typing import BinaryIO

from fleetloop.core.clock import Clock

SIP = 16 << 10  # bytes let through at once


class Uplink:
    """So many megabits per second, shared by all that goes through it. Safe to use from several threads."""

    def __init__(self, mbps: float, clock: Clock) -> None:
        self._bytes_per_s, self._clock = mbps * 1e6 / 8, clock
        self._free_at = clock.now()
        self._lock = threading.Lock()

    def paced(self, file: BinaryIO) -> "PacedFile":
        """The file, to be read no faster than that."""
        return PacedFile(file, self)

    def take(self, count: int) -> None:
        """Wait until so many bytes may go. What was not used before is not made up for."""
        with self._lock:
            at = max(self._free_at, self._clock.now())
            self._free_at = at + count / self._bytes_per_s
        self._clock.sleep_until(at)


class PacedFile:
    """What httpx asks of a body whose length it is to know."""

    def __init__(self, file: BinaryIO, uplink: Uplink) -> None:
        self._file, self._uplink = file, uplink

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(SIP if size < 0 else min(size, SIP))
        self._uplink.take(len(part))
        return part

    def __iter__(self) -> "PacedFile":
        return self

    def __next__(self) -> bytes:
        if part := self.read():
            return part
        raise StopIteration
