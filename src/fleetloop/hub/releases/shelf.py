"""Blobs that a whole fleet comes for at once, held in memory: from the disk each costs many times as much."""

from pathlib import Path
from threading import Lock

from blake3 import blake3

from fleetloop.hub.storage.objects import available

ROOM = 64 << 20
"""Bytes that are held at most. What finds no room is read from the disk every time."""
LARGEST = 8 << 20
"""Bytes of a blob that is held: others are read by pieces, in which case nobody waits while one is read."""


class Shelf:
    """Filled as blobs are asked for, emptied when a channel moves: then the fleet comes for others.

    Safe to call from several threads.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._size, self._room = room, room
        self._blobs: dict[str, bytes] = {}
        self._lock = Lock()

    def held(self, hash: str) -> bytes | None:
        """Waits for nothing."""
        return self._blobs.get(hash)

    def take(self, hash: str, path: Path) -> bytes | None:
        """The blob's bytes, to be held from now on; None if there is no room, or if they are damaged.

        Raises HubUnavailable if the disk fails.
        """
        with self._lock, available(path):  # who comes for it meanwhile gets these bytes, instead of reading its own
            if hash in self._blobs:
                return self._blobs[hash]
            if path.stat().st_size > min(self._room, LARGEST):
                return None
            data = path.read_bytes()
            if blake3(data).hexdigest() != hash:  # it may be put again, whole
                return None
            self._blobs[hash] = data
            self._room -= len(data)
            return data

    def clear(self) -> None:
        with self._lock:
            self._blobs, self._room = {}, self._size
