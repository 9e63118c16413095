"""Where the hub keeps bytes: immutable objects under names like `episodes/ID.arrow` and `blobs/HASH`.

What the catalog knows of experience and releases can be worked out anew from them: see `rebuild.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from blake3 import blake3

from fleetloop.core.disk import Disk, disk_trouble
from fleetloop.core.errors import DiskTrouble, EpisodeInvalid, HubRefused, HubUnavailable

CHUNK = 1 << 20


class Incoming:
    """Bytes on their way in: hashed while they are written, invisible until they are kept, dropped if they aren't.

    Attributes:
        path: the file that holds them for now.
    """

    def __init__(self, disk: Disk, path: Path, limit: int) -> None:
        self.path, self.size = path, 0
        self._disk, self._limit = disk, limit
        self._hasher = blake3()
        with _available():
            self._file = disk.create(path)

    def write(self, chunk: bytes) -> None:
        """Raises HubRefused (413) past the size limit, HubUnavailable if the disk takes no more."""
        self.size += len(chunk)
        check_size(self.size, self._limit)
        self._hasher.update(chunk)
        with _available(self.path):
            self._file.write(chunk)

    def finish(self) -> str:
        """Force everything onto the disk; returns the blake3 of the bytes."""
        with _available(self.path):
            self._disk.sync(self._file)
            self._file.close()
        return self._hasher.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _available(self.path):
            try:
                self._file.close()
            finally:
                self._disk.remove(self.path)


class ObjectStore(Protocol):
    """Durable, immutable objects by name. Raises HubUnavailable when the storage fails."""

    def incoming(self, limit: int) -> Incoming:
        """Begin to take in an object of at most `limit` bytes."""
        ...

    def keep(self, incoming: Incoming, name: str) -> None:
        """Give finished bytes their name, durably and at once."""
        ...

    def put(self, name: str, data: bytes) -> None: ...

    def note(self, name: str, data: bytes) -> None:
        """As `put`, but a power cut may take it: for what can be worked out again from other objects."""
        ...

    def locate(self, name: str) -> Path:
        """A local file with the object's bytes."""
        ...

    def size(self, name: str) -> int | None:
        """In bytes; None if there is no such object."""
        ...

    def names(self, prefix: str) -> Sequence[str]:
        """Of all objects below `prefix`, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Nothing happens if it is gone already."""
        ...


class DirectoryStore:
    """Objects as files below one directory, of which this process is the only writer."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root, self._disk = root, disk
        self._incoming = root / "incoming"
        self._numbers = count()
        for name in ("incoming", "episodes", "events", "blobs", "releases", "channels"):
            disk.make(root / name)
        for left_over in self._incoming.iterdir():
            disk.remove(left_over)  # whoever sent it has no acknowledgement and sends it again

    def incoming(self, limit: int) -> Incoming:
        return Incoming(self._disk, self._incoming / str(next(self._numbers)), limit)

    def keep(self, incoming: Incoming, name: str) -> None:
        with _available():
            self._disk.rename(incoming.path, self._root / name)

    def put(self, name: str, data: bytes) -> None:
        path = self._root / name
        with _available():
            if not path.parent.is_dir():
                self._disk.make(path.parent)
            self._disk.write(path, data)

    def note(self, name: str, data: bytes) -> None:
        path = self._root / name
        temporary = path.with_name(f".{path.name}.tmp")
        with _available(path):
            temporary.write_bytes(data)
            temporary.replace(path)

    def locate(self, name: str) -> Path:
        return self._root / name

    def size(self, name: str) -> int | None:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> Sequence[str]:
        files = (path for path in (self._root / prefix).iterdir() if not path.name.startswith("."))
        return sorted(str(path.relative_to(self._root)) for path in files)

    def remove(self, name: str) -> None:
        with _available():
            self._disk.remove(self._root / name)


def check_size(size: int, limit: int) -> None:
    """Raise HubRefused (413) if `size` bytes are more than `limit`."""
    if size > limit:
        raise HubRefused("body", f"is larger than {limit / 1e6:g} MB", "raise the hub's limit or send less", status=413)


@contextmanager
def _available(path: Path | None = None) -> Iterator[None]:
    """What goes wrong with the hub's disk is for its callers a hub that can't serve now."""
    try:
        yield
    except DiskTrouble as error:
        raise HubUnavailable("hub storage", error.problem, error.remedy) from error
    except OSError as error:
        trouble = disk_trouble(path or Path("hub storage"), error)
        raise HubUnavailable("hub storage", trouble.problem, trouble.remedy) from error


def copy_verified(chunks: Iterable[bytes], path: Path, hash: str) -> None:
    """Write `chunks` to `path` at once, if their blake3 is `hash`.

    Raises:
        EpisodeInvalid: other bytes came; nothing is at `path`.
        DiskTrouble: `path` can't be written.
    """
    hasher = blake3()
    temporary = path.with_name(f".{path.name}.fetching")
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                hasher.update(chunk)
                file.write(chunk)
        if hasher.hexdigest() != hash:
            raise EpisodeInvalid("hash", f"{path.name} came with other bytes than {hash}", "fetch it again")
        temporary.replace(path)
    except OSError as error:
        raise disk_trouble(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
