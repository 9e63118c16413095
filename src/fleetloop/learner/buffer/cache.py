"""Episode files as they came from the hub, on the learner's disk, as many as there is room for."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

from fleetloop.core.disk import Disk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import DiskFull, EpisodeInvalid
from fleetloop.core.hub import Hub
from fleetloop.core.recording import SEALED
from fleetloop.core.turns import Turns

PART = ".part"


class EpisodeCache:
    """Fetches an episode once, and again if it had to make room since: the one that was not opened for the longest
    goes first. The newest is kept even if it alone is too large. Any thread may ask.

    Args:
        directory: its own; what an earlier process left there is taken over, but for halves.
        most_bytes: of files, together.
    """

    def __init__(self, hub: Hub, disk: Disk, directory: Path, most_bytes: int) -> None:
        self._hub, self._disk, self._directory, self._most_bytes = hub, disk, directory, most_bytes
        self._lock, self._turns = Lock(), Turns()
        disk.make(directory)
        for half in directory.glob(f"*{PART}"):
            disk.remove(half)
        found = {path: path.stat() for path in directory.glob(f"*{SEALED}")}
        oldest_first = sorted(found, key=lambda path: (found[path].st_mtime_ns, path.name))
        self._sizes = OrderedDict((path.name.removesuffix(SEALED), found[path].st_size) for path in oldest_first)
        self._bytes = sum(self._sizes.values())
        self._make_room()

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def open(self, id: str) -> Episode:
        """Raises EpisodeInvalid, HubRefused, HubUnavailable, DiskTrouble."""
        with self._turns.of(id):  # nobody else need wait while it is fetched
            held = self._held(id)
            return self._fetched(id) if held is None else held

    def remove(self, id: str) -> None:
        """Keep it no longer; whoever has it open can read on."""
        with self._lock:
            if id in self._sizes:
                self._drop(id)

    def _held(self, id: str) -> Episode | None:
        with self._lock:
            if id not in self._sizes:
                return None
            try:
                episode = Episode.open(self._path(id))
            except EpisodeInvalid:
                self._drop(id)  # a power cut can leave a torn copy; the hub has the whole
                return None
            self._sizes.move_to_end(id)
            return episode

    def _fetched(self, id: str) -> Episode:
        path = self._path(id)
        incoming = path.with_suffix(PART)
        while True:
            try:
                self._hub.get_episode(id, incoming)
                break
            except DiskFull:  # before `most_bytes` are there: then that is the limit
                with self._lock:
                    if not self._sizes:
                        raise
                    self._drop(next(iter(self._sizes)))
        with self._lock:
            self._disk.rename(incoming, path)
            self._sizes[id] = path.stat().st_size
            self._bytes += self._sizes[id]
            episode = Episode.open(path)
            self._make_room()
            return episode

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes and len(self._sizes) > 1:
            self._drop(next(iter(self._sizes)))

    def _drop(self, id: str) -> None:
        self._disk.remove(self._path(id))
        self._bytes -= self._sizes.pop(id)

    def _path(self, id: str) -> Path:
        return self._directory / f"{id}{SEALED}"
