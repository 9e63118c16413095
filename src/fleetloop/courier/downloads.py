"""The hub's blobs by way of this host's disk: what has come stays when the line breaks off, or the courier ends."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from blake3 import blake3

from fleetloop.core.disk import disk_trouble
from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import never
from fleetloop.core.release import BlobEntry, Release
from fleetloop.core.turns import Turns
from fleetloop.weights.errors import BlobDamaged

_HASH = re.compile("[0-9a-f]{64}")


def _stat(path: Path) -> os.stat_result | None:
    """None if it went meanwhile."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


class Line(Protocol):
    """What brings the bytes here: a hub, or what measures one."""

    def release(self, version: int) -> Release: ...

    def fetch_blob(self, blob: BlobEntry, file: BinaryIO, *, gives_way: Callable[[], bool] = never) -> None: ...


@dataclass(frozen=True)
class WhileWanted:
    """A `weights.route.Source`: downloads that may be called off."""

    downloads: "Downloads"
    gives_way: Callable[[], bool]

    def release(self, version: int) -> Release:
        return self.downloads.release(version)

    def get_blob(self, blob: BlobEntry) -> bytes:
        return self.downloads.get_blob(blob, self.gives_way)


class Downloads:
    """A `weights.route.Source`. Each blob is a file that is named by its hash, whole or begun."""

    def __init__(self, line: Line, directory: Path) -> None:
        self._line, self._directory, self._turns = line, directory, Turns()

    def release(self, version: int) -> Release:
        return self._line.release(version)

    def get_blob(self, blob: BlobEntry, gives_way: Callable[[], bool] = never) -> bytes:
        """The bytes that have its hash; only those that are not here yet are fetched.

        Raises:
            BlobDamaged: its hash is none, or the hub sends other bytes.
            HubRefused, HubUnavailable; DiskTrouble; GaveWay if `gives_way` says so, and what has come stays.
        """
        if not _HASH.fullmatch(blob.hash):
            raise BlobDamaged(f"blob {blob.hash[:12]!r}", "is named by no hash")
        path = self._directory / blob.hash
        try:
            with self._turns.of(blob.hash):  # who has given up may still be fetching it
                return self._whole(blob, path) or self._rest(blob, path, gives_way)
        except OSError as error:
            raise disk_trouble(path, error) from error

    def trim(self, most_bytes: int) -> None:
        """Forget the oldest of what is here, beyond so many bytes. Raises DiskTrouble."""
        files = [(found.st_mtime, found.st_size, path) for path in self._directory.iterdir() if (found := _stat(path))]
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= most_bytes:
                return
            total -= size
            self._forget(path)

    def clear(self) -> None:
        """Forget everything. Raises DiskTrouble."""
        self.trim(-1)

    def _rest(self, blob: BlobEntry, path: Path, gives_way: Callable[[], bool]) -> bytes:
        if path.exists():
            try:
                self._fetch(blob, path, gives_way)
            except HubRefused:  # there is no rest: what was begun is longer than the blob
                self._forget(path)
            if data := self._whole(blob, path):
                return data
            self._forget(path)  # a power cut may have torn what had come
        self._fetch(blob, path, gives_way)
        if data := self._whole(blob, path):
            return data
        self._forget(path)
        raise BlobDamaged(f"blob {path.name[:12]}", "came with other bytes than its hash says", "fetch it again")

    def _fetch(self, blob: BlobEntry, path: Path, gives_way: Callable[[], bool]) -> None:
        with path.open("ab") as file:
            self._line.fetch_blob(blob, file, gives_way=gives_way)

    def _whole(self, blob: BlobEntry, path: Path) -> bytes | None:
        if not path.exists() or path.stat().st_size != blob.size:
            return None
        data = path.read_bytes()
        return data if blake3(data).hexdigest() == path.name else None

    def _forget(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_trouble(path, error) from error
