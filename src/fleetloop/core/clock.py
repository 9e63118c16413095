"""Time: every component is handed a Clock and never reads the machine's own.

`Wall` is real time. `Scaled` is real processes with simulated robots, k times faster, all of them sharing one epoch and
one factor. `Virtual` is one process, and time moves only when it is told to.
"""

import mmap
import struct
import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Seconds since this clock's epoch, and a way to wait for them."""

    name: str

    def now(self) -> float:
        """Clock seconds; never goes backwards."""
        ...

    def wall(self) -> float:
        """The Unix time (s) that a record made now carries."""
        ...

    def sleep_until(self, deadline: float) -> None:
        """Return at `deadline` (clock seconds), at once if it has passed."""
        ...


class Wall:
    """Real time, on the monotonic clock."""

    name = "wall"

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def sleep_until(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining > 0:
            time.sleep(remaining)


class Virtual:
    """Time that only `advance` and `sleep_until` move: one process, repeatable."""

    name = "virtual"

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    def sleep_until(self, deadline: float) -> None:
        self._now = max(self._now, deadline)

    def advance(self, seconds: float) -> None:
        self._now += seconds


class Scaled:
    """A clock that runs `factor` times faster than real time, shared by processes through a small file.

    The file holds (sequence, wall epoch, clock epoch, factor). Whoever paces the fleet rewrites it with `set_factor`;
    clock time stays continuous, and every process sees the new factor at its next reading. The sequence number is odd
    while a rewrite is under way, so that no reader takes half of one.
    """

    name = "scaled"
    _record = struct.Struct("<qddd")
    _longest_nap_s = 0.05  # wall seconds; a changed factor is noticed after at most this

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), self._record.size)

    @classmethod
    def create(cls, path: Path, factor: float) -> "Scaled":
        """Start a shared clock at 0 s, running at `factor`."""
        path.write_bytes(cls._record.pack(0, time.monotonic(), 0.0, factor))
        return cls(path)

    def _read(self) -> tuple[float, float, float]:
        while True:
            sequence, wall_epoch, clock_epoch, factor = self._record.unpack(self._memory[:])
            if sequence % 2 == 0 and self._record.unpack(self._memory[:])[0] == sequence:
                return wall_epoch, clock_epoch, factor

    @property
    def factor(self) -> float:
        return self._read()[2]

    def set_factor(self, factor: float) -> None:
        """Change the pace from now on. One process alone may call this."""
        sequence = self._record.unpack(self._memory[:])[0]
        wall_now, clock_now = time.monotonic(), self.now()
        self._memory[:8] = struct.pack("<q", sequence + 1)
        self._memory[8:] = struct.pack("<ddd", wall_now, clock_now, factor)
        self._memory[:8] = struct.pack("<q", sequence + 2)

    def now(self) -> float:
        wall_epoch, clock_epoch, factor = self._read()
        return clock_epoch + (time.monotonic() - wall_epoch) * factor

    def wall(self) -> float:
        return time.time()

    def sleep_until(self, deadline: float) -> None:
        while (remaining := deadline - self.now()) > 0:
            time.sleep(min(remaining / self.factor, self._longest_nap_s))
