"""The disk seam: every byte that must survive a crash goes through here, so that a test can stand in its way."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from fleetloop.core.errors import DiskFull, DiskTrouble

PIECE = 1 << 16
"""Bytes that are written at once: for more, Linux may look for larger pages, and take ten times as long."""


class Disk(Protocol):
    """What a component may ask of a disk. Errors of the operating system are raised as DiskTrouble."""

    def write(self, path: Path, data: bytes) -> None:
        """Replace `path` by `data` durably and at once: temporary file, fsync, rename, fsync of the directory."""
        ...

    def create(self, path: Path) -> BinaryIO:
        """Open a new file for writing, locked for as long as it is open. It appears under `path` already locked."""
        ...

    def sync_name(self, path: Path) -> None:
        """Force the names of new files in this one's directory onto the disk; `sync` forces its bytes alone."""
        ...

    def in_use(self, path: Path) -> bool:
        """Whether a living process still holds the lock that `create` took."""
        ...

    def sync(self, file: BinaryIO) -> None:
        """Force what was written to `file` onto the disk."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Move a file within its file system, durably."""
        ...

    def move(self, source: Path, target: Path) -> None:
        """As `rename`, at once but not durably: `sync_name` forces any number of new names onto the disk in one go."""
        ...

    def remove(self, path: Path) -> None:
        """Delete a file; nothing happens if it is gone already."""
        ...

    def make(self, directory: Path) -> None:
        """Create a directory and its parents."""
        ...

    def free(self, directory: Path) -> int:
        """Bytes that can still be written there."""
        ...


class RealDisk:
    """The machine's own disk."""

    def write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                write_all(file, data)
                self.sync(file)
            self.rename(temporary, path)
        except OSError as error:
            raise disk_trouble(path, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def create(self, path: Path) -> BinaryIO:
        hidden = path.with_name(f".{path.name}.new")
        try:
            file = hidden.open("wb")
        except OSError as error:
            raise disk_trouble(path, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(path)
        except OSError as error:
            file.close()
            raise disk_trouble(path, error) from error
        return file

    def sync_name(self, path: Path) -> None:
        try:
            _sync_directory(path.parent)
        except OSError as error:
            raise disk_trouble(path, error) from error

    def in_use(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def sync(self, file: BinaryIO) -> None:
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise disk_trouble(Path(file.name), error) from error

    def rename(self, source: Path, target: Path) -> None:
        self.move(source, target)
        self.sync_name(target)

    def move(self, source: Path, target: Path) -> None:
        try:
            source.replace(target)
        except OSError as error:
            raise disk_trouble(target, error) from error

    def remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_trouble(path, error) from error

    def make(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_trouble(directory, error) from error

    def free(self, directory: Path) -> int:
        try:
            return shutil.disk_usage(directory).free
        except OSError as error:
            raise disk_trouble(directory, error) from error


def write_all(file: BinaryIO, data: bytes | bytearray | memoryview) -> None:
    """Write `data` piece by piece. Raises OSError."""
    whole = memoryview(data)
    for start in range(0, len(whole), PIECE):
        file.write(whole[start : start + PIECE])


@contextmanager
def alone(lock: Path, field: str, problem: str, remedy: str) -> Iterator[None]:
    """Hold `lock` for as long as the block runs; kill -9 frees it too.

    Raises:
        DiskTrouble: (field, problem, remedy) if another process holds it, or that the file can't be opened.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_trouble(lock, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DiskTrouble(field, problem, remedy) from error
        yield
    finally:
        os.close(descriptor)


def disk_trouble(path: Path, error: OSError) -> DiskTrouble:
    """What an operating-system error means to the person who must mend it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(str(path), "the disk is full", "free some space or choose another directory")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return DiskTrouble(str(path), "can't be written", "choose a directory that you may write to")
    remedy = "check the path: each part of it but the last must be a directory, and the name must be free"
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return DiskTrouble(str(path), f"can't be made ({error.strerror})", remedy)
    return DiskTrouble(str(path), error.strerror or str(error), "check the disk and the path")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: Path) -> None:
    """Raise DiskTrouble now rather than when there is something to write. Leaves everything as it was."""
    fresh = not path.exists()
    try:
        with path.open("ab"):
            pass
        if fresh:
            path.unlink()
    except OSError as error:
        raise disk_trouble(path, error) from error
