"""Objects as files below one directory, of which this process is the only writer."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from blake3 import blake3

from fleetloop.core.disk import Disk
from fleetloop.core.errors import HubUnavailable
from fleetloop.hub.storage.objects import (
    CHUNK,
    Arrived,
    Incoming,
    Part,
    Place,
    available,
    check_size,
    gone,
    not_uploaded,
)

log = logging.getLogger(__name__)

INCOMING = "incoming"
ROOMS = ("episodes", "events", "blobs", "releases", "channels", "quarantine")


class Staging:
    """Where uploads lie while they pass through the hub in one go. Emptied at the start: their senders begin anew."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self.directory = directory
        self._disk, self._numbers = disk, count()
        disk.make(directory)
        for left_over in directory.iterdir():
            if left_over.name.isdigit() or left_over.name.startswith("."):
                disk.remove(left_over)

    def incoming(self, limit: int) -> Incoming:
        return Incoming(self._disk, self.directory / str(next(self._numbers)), limit)


class DirectoryStore:
    """Keeps what it acknowledges by fsync of the file and of its directory."""

    def __init__(self, root: Path, disk: Disk, *, most_waiting: int) -> None:
        """`most_waiting`: bytes of unfinished uploads above which the oldest of them is forgotten."""
        self._root, self._disk, self._most_waiting = root, disk, most_waiting
        self._staging = Staging(root / INCOMING, disk)
        self._lock = Lock()
        self._sending: dict[Path, Part] = {}
        self._collecting: set[Path] = set()
        for name in ROOMS:
            disk.make(root / name)

    # ------------------------------------------------------------------ uploads

    def incoming(self, limit: int) -> Incoming:
        return self._staging.incoming(limit)

    def begin(self, key: str, size: int) -> Place:
        path = self._upload(key)
        with self._lock, available(path):
            self._cut_off(path)
            offset = _size(path) or 0
            if offset > size:  # no part of these bytes
                self._disk.remove(path)
                offset = 0
            under_way, taken = self._make_room(path, size)
            if under_way and taken > self._most_waiting:
                raise HubUnavailable("upload", "must wait: others take all the room", "raise hub.max_waiting_mb")
        return Place(offset, size - offset)

    def append(self, key: str, offset: int, limit: int) -> Part:
        path = self._upload(key)
        with self._lock, available(path):
            self._cut_off(path)
            if path in self._collecting:
                raise HubUnavailable("upload", "is being taken as it is", "ask where to go on")
            found = _size(path) or 0
            if found != offset:
                raise HubUnavailable("Upload-Offset", f"is {offset}, but {found} bytes are here", "ask where to go on")
            self._make_room(path, found)  # for who never asked where to go, too
            file: BinaryIO = path.open("ab") if found else self._disk.create(path)
            self._sending[path] = part = Part(file, found, limit, lambda: self._sent(path, part))
        return part

    def _sent(self, path: Path, part: Part) -> None:
        with self._lock:
            if self._sending.get(path) is part:
                del self._sending[path]

    @contextmanager
    def collect(self, key: str, limit: int) -> Iterator[Arrived]:
        path = self._upload(key)
        with self._lock, available(path):
            self._cut_off(path)
            size = _size(path)
            if size is None:
                raise not_uploaded(key)
            check_size(size, limit)
            self._collecting.add(path)
        try:
            with available(path):
                with path.open("rb") as file:
                    self._disk.sync(file)
                hash = blake3().update_mmap(path).hexdigest()
            yield Arrived(path, size, hash)
        finally:
            self._collecting.discard(path)

    def discard(self, key: str) -> None:
        path = self._upload(key)
        with self._lock, available(path):
            self._cut_off(path)
            self._disk.remove(path)

    def sweep(self, before: float) -> int:
        with self._lock, available():
            old = [path for path in self._waiting() if path.stat().st_mtime < before]
            for path in old:
                self._disk.remove(path)
        return len(old)

    def _upload(self, key: str) -> Path:
        return self._staging.directory / key.replace("/", ".")

    def _waiting(self) -> list[Path]:
        """Unfinished uploads that nobody is busy with, the longest untouched first."""
        busy = {*self._sending, *self._collecting}
        paths = [path for path in self._staging.directory.glob("[!.]*.*") if path not in busy]
        return sorted(paths, key=lambda path: path.stat().st_mtime)

    def _make_room(self, path: Path, size: int) -> tuple[int, int]:
        """Forget the oldest for `size` bytes of this upload: how many are under way, and how many there are then."""
        others = [other for other in self._waiting() if other != path]
        under_way = sum(_size(other) or 0 for other in self._sending)
        taken = size + under_way + sum(_size(other) or 0 for other in others)
        while others and taken > self._most_waiting:
            oldest = others.pop(0)
            taken -= _size(oldest) or 0
            log.warning("forgot the unfinished upload %s to make room", oldest.name)
            self._disk.remove(oldest)
        return under_way, taken

    def _cut_off(self, path: Path) -> None:
        if part := self._sending.pop(path, None):
            part.cut_off()

    # ------------------------------------------------------------------ objects

    def keep(self, arrived: Arrived, name: str) -> bool:
        self.replace(arrived, name)  # nobody else writes here: what has the name was never acknowledged
        return True

    def replace(self, arrived: Arrived, name: str) -> None:
        with available():
            self._disk.move(arrived.path, self._root / name)

    def settle(self, name: str) -> None:
        with available():
            self._disk.sync_name(self._root / name)

    def put(self, name: str, data: bytes) -> None:
        path = self._root / name
        with available():
            self._disk.write(path, data)

    def note(self, name: str, data: bytes) -> None:
        path = self._root / name
        temporary = path.with_name(f".{path.name}.tmp")
        with available(path):
            temporary.write_bytes(data)
            temporary.replace(path)

    def move(self, name: str, new: str) -> None:
        with available():
            self._disk.rename(self._root / name, self._root / new)

    def remove(self, name: str) -> None:
        with available():
            self._disk.remove(self._root / name)

    def locate(self, name: str) -> Path:
        return self._root / name

    def read(self, name: str) -> Iterator[bytes]:
        try:
            with (self._root / name).open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except FileNotFoundError as error:
            raise gone(name) from error

    def size(self, name: str) -> int | None:
        return _size(self._root / name)

    def modified(self, name: str) -> float | None:
        try:
            return (self._root / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> Sequence[str]:
        files = (path for path in (self._root / prefix).iterdir() if not path.name.startswith("."))
        return sorted(str(path.relative_to(self._root)) for path in files)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
