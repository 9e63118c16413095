"""How fast the line to the hub is, as blobs that come over it show: a courier chooses its way to a release by that."""

import threading
from collections.abc import Callable
from typing import BinaryIO

from fleetloop.core.clock import Clock
from fleetloop.core.hub import Hub, never
from fleetloop.core.release import BlobEntry, Release
from fleetloop.weights.route import BYTES_PER_S

TELLING = 1 << 20
"""Bytes from which on a transfer says something about the line, rather than about its delay."""


class Metered:
    """A hub's releases and blobs. Safe to use from several threads.

    Attributes:
        bytes_per_s: what the line carried lately while anything was being fetched; `BYTES_PER_S` before.
    """

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self.bytes_per_s = float(BYTES_PER_S)
        self._hub, self._clock, self._lock = hub, clock, threading.Lock()
        self._under_way = self._bytes = 0
        self._busy_s = self._since = 0.0

    def release(self, version: int) -> Release:
        return self._hub.release(version)

    def fetch_blob(self, blob: BlobEntry, file: BinaryIO, *, gives_way: Callable[[], bool] = never) -> None:
        """As the hub's."""
        before = file.tell()
        self._begin()
        try:
            self._hub.fetch_blob(blob, file, gives_way=gives_way)
        finally:
            self._end(max(0, file.tell() - before))  # less is there if it had to begin anew

    def _begin(self) -> None:
        with self._lock:
            if self._under_way == 0:
                self._since = self._clock.now()
            self._under_way += 1

    def _end(self, count: int) -> None:
        with self._lock:
            now = self._clock.now()
            self._busy_s, self._since = self._busy_s + now - self._since, now
            self._bytes, self._under_way = self._bytes + count, self._under_way - 1
            if self._bytes >= TELLING and self._busy_s > 0 and self._under_way == 0:
                self.bytes_per_s = self._bytes / self._busy_s
                self._bytes, self._busy_s = 0, 0.0
