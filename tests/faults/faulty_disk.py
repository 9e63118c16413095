"""A disk whose power can fail: what was not forced onto it may be torn, be gone, or come back from the dead.

As strict as POSIX allows: a name is safe once its directory was synced, bytes are once their file was.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble


class Crash(BaseException):
    """The process that is running ends here, as by kill -9: no handler of its own may stop this."""


@dataclass
class Entry:
    """A file that is not safe yet: how many of its bytes are, and whether its name is."""

    safe_bytes: int = 0
    safe_name: bool = False


class Platters:
    """What one host's disk holds, beside the files themselves."""

    def __init__(self, rng: random.Random) -> None:
        self.entries: dict[Path, Entry] = {}
        self.removed: dict[Path, bytes] = {}  # until their directory is synced
        self.locks: dict[Path, BinaryIO] = {}
        self._rng = rng

    def sync_directory(self, directory: Path) -> None:
        for path, entry in list(self.entries.items()):
            if path.parent == directory:
                entry.safe_name = True
        for path in [path for path in self.removed if path.parent == directory]:
            del self.removed[path]

    def lose_power(self) -> None:
        """Every process of the host must be dead by now."""
        for path, entry in self.entries.items():
            if not path.exists():
                continue
            if not entry.safe_name and self._rng.random() < 0.5:
                path.unlink()
                continue
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.truncate(self._rng.randint(min(entry.safe_bytes, size), size))
        for path, data in self.removed.items():
            if self._rng.random() < 0.5:
                path.write_bytes(data)
        self.entries.clear()
        self.removed.clear()
        self.locks.clear()


class FaultyDisk(RealDisk):
    """One process's way to the platters.

    Args:
        hazard: called before and after everything that changes the disk; raises what is to happen there.
    """

    def __init__(self, platters: Platters, hazard: Callable[[], None]) -> None:
        self._platters, self._hazard = platters, hazard
        self._opened: list[BinaryIO] = []

    def drop(self) -> None:
        """What the operating system does for a dead process: close its files, and with them its locks."""
        for file in self._opened:
            file.close()

    def write(self, path: Path, data: bytes) -> None:
        self._hazard()
        temporary = path.with_name(f".{path.name}.tmp")
        with _trouble(path), temporary.open("wb") as file:
            file.write(data[: len(data) // 2])
            self._platters.entries[temporary] = Entry()
            self._hazard()
            file.write(data[len(data) // 2 :])
            self.sync(file)
        self.rename(temporary, path)

    def create(self, path: Path) -> BinaryIO:
        self._hazard()
        with _trouble(path):
            file: BinaryIO = path.open("wb", buffering=0)  # type: ignore[assignment]
        self._platters.entries[path] = Entry()
        self._platters.locks[path] = file
        self._opened.append(file)
        return file

    def sync_name(self, path: Path) -> None:
        self._hazard()
        self.sync_directory(path.parent)

    def in_use(self, path: Path) -> bool:
        file = self._platters.locks.get(path)
        return file is not None and not file.closed

    def sync(self, file: BinaryIO) -> None:
        self._hazard()
        file.flush()
        path = Path(file.name)
        if path in self._platters.entries:
            self._platters.entries[path].safe_bytes = path.stat().st_size

    def rename(self, source: Path, target: Path) -> None:
        self._hazard()
        self._move(source, target)
        self.sync_directory(target.parent)
        entry = self._platters.entries.get(target)
        if entry and entry.safe_name and entry.safe_bytes == target.stat().st_size:
            del self._platters.entries[target]
        self._hazard()

    def move(self, source: Path, target: Path) -> None:
        self._hazard()
        self._move(source, target)
        self._hazard()

    def _move(self, source: Path, target: Path) -> None:
        with _trouble(target):
            source.replace(target)
        entry = self._platters.entries.pop(source, None)
        self._platters.entries.pop(target, None)
        if target.is_file():
            self._platters.entries[target] = Entry(entry.safe_bytes if entry else target.stat().st_size)

    def sync_directory(self, directory: Path) -> None:
        """Names in it are safe from here on."""
        self._platters.sync_directory(directory)

    def remove(self, path: Path) -> None:
        self._hazard()
        if not path.exists():
            return
        entry = self._platters.entries.pop(path, None)
        if entry is None or entry.safe_name:
            data = path.read_bytes()
            self._platters.removed[path] = data if entry is None else data[: entry.safe_bytes]
        path.unlink()
        self._hazard()


class NeverForced(FaultyDisk):
    """Bug: `sync` returns without having forced anything onto the disk."""

    def sync(self, file: BinaryIO) -> None:
        file.flush()


class _trouble:  # noqa: N801  reads as the context that it is
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise DiskTrouble(str(self._path), str(error)) from error
