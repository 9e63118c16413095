"""What uploads take of a robot's uplink: a cap on all of them, and the way that a large one gives to an urgent one."""

import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from fleetloop.core.clock import Clock
from fleetloop.core.errors import GaveWay

SIP = 16 << 10  # bytes let through at once
PART = 64 << 10  # bytes sent at once
STRETCH = 256 << 10  # bytes after which an upload asks whether to give way


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def giving_way(file: Readable, length: int, gives_way: Callable[[], bool]) -> Iterator[bytes]:
    """The file's next `length` bytes. Raises GaveWay if `gives_way` says so, asked after every stretch of them."""
    sent = 0
    while part := file.read(min(PART, length)):
        yield part
        length -= len(part)
        sent += len(part)
        if sent >= STRETCH:
            sent = 0
            if gives_way():
                raise stopped()


def stopped() -> GaveWay:
    return GaveWay("transfer", "has stopped for something more urgent")


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
    """A file that is read at the uplink's pace."""

    def __init__(self, file: BinaryIO, uplink: Uplink) -> None:
        self._file, self._uplink = file, uplink

    def read(self, size: int, /) -> bytes:
        part = self._file.read(min(size, SIP))
        self._uplink.take(len(part))
        return part
