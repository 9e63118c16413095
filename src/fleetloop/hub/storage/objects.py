"""Where the hub keeps bytes: immutable objects under names like `episodes/ID.arrow` and `blobs/HASH`.

What the catalog knows of experience and releases can be worked out anew from them: see `rebuild.py`. The stores
themselves are `directory.py` and `s3.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from blake3 import blake3

from fleetloop.core.disk import Disk, disk_trouble, write_all
from fleetloop.core.errors import DiskTrouble, EpisodeInvalid, HubRefused, HubUnavailable

CHUNK = 1 << 20


@dataclass(frozen=True)
class Arrived:
    """An upload, whole and on this machine's disk, to be looked into and then kept.

    Attributes:
        hash: the blake3 of its bytes.
        object: the name under which the store has the same bytes already; empty if it has not.
    """

    path: Path
    size: int
    hash: str
    object: str = ""


@dataclass(frozen=True)
class Place:
    """Where the rest of an upload is to go.

    Attributes:
        offset: how many bytes are there already.
        length: how many may go there next; 0 if that was all of them.
        url: takes them by a plain PUT, for anybody and for a while; empty if the hub itself takes them.
    """

    offset: int
    length: int
    url: str = ""


@dataclass(frozen=True)
class Link:
    """A URL at which anybody may fetch an object, for a while."""

    url: str


class Incoming:
    """Bytes on their way in: hashed while they are written, invisible until they are kept, dropped if they aren't."""

    def __init__(self, disk: Disk, path: Path, limit: int) -> None:
        self._disk, self._path, self._limit, self._size = disk, path, limit, 0
        self._hasher = blake3()
        with available():
            self._file: BinaryIO = disk.create(path)

    def write(self, chunk: bytes) -> None:
        """Raises HubRefused (413) past the size limit, HubUnavailable if the disk takes no more."""
        self._size += len(chunk)
        check_size(self._size, self._limit)
        self._hasher.update(chunk)
        with available(self._path):
            write_all(self._file, chunk)

    def finish(self) -> Arrived:
        """Force everything onto the disk."""
        with available(self._path):
            self._disk.sync(self._file)
            self._file.close()
        return Arrived(self._path, self._size, self._hasher.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with available(self._path):
            try:
                self._file.close()
            finally:
                self._disk.remove(self._path)


class Part:
    """The end of an unfinished upload's file. What was written stays when its sender is interrupted."""

    def __init__(self, file: BinaryIO, size: int, limit: int, closed: Callable[[], None]) -> None:
        """`size`: how many bytes are there already. `closed` is told once nobody writes any more."""
        self._file, self._size, self._limit, self._closed = file, size, limit, closed
        self._lock = Lock()

    def write(self, chunk: bytes) -> None:
        """Raises HubRefused (413) past the limit, HubUnavailable if cut off or the disk takes no more."""
        with self._lock:
            if self._file.closed:
                raise HubUnavailable("upload", "was begun again by another request")
            self._size += len(chunk)
            check_size(self._size, self._limit)
            with available():
                write_all(self._file, chunk)

    def cut_off(self) -> None:
        """End a sender's request; its connection may have died unnoticed."""
        with self._lock, available():
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut_off()
        self._closed()


class ObjectStore(Protocol):
    """Durable, immutable objects by name. Every call raises HubUnavailable when the storage fails."""

    # an upload through the hub, in one go
    def incoming(self, limit: int) -> Incoming:
        """Begin to take in at most `limit` bytes."""
        ...

    # an upload that may stop and go on; its key is ID/HASH
    def begin(self, key: str, size: int) -> Place:
        """Where the rest of `size` bytes is to go. Whoever was still sending under this key is cut off."""
        ...

    def append(self, key: str, offset: int, limit: int) -> Part:
        """Take the bytes from `offset` on, at most `limit` in all.

        Raises:
            HubUnavailable: if not exactly `offset` bytes are there.
            HubRefused: 409, if this store takes uploads elsewhere.
        """
        ...

    def collect(self, key: str, limit: int) -> AbstractContextManager[Arrived]:
        """What was uploaded. Raises HubRefused: 404 if nothing was, 413 if it is more than `limit` bytes."""
        ...

    def discard(self, key: str) -> None:
        """Forget an upload."""
        ...

    def sweep(self, before: float) -> int:
        """Forget uploads that nothing came for since then (Unix time, s); returns how many."""
        ...

    # objects
    def keep(self, arrived: Arrived, name: str) -> bool:
        """Give what has arrived its name, at once; durably, `settle` makes it. False, and nothing done, if other bytes
        have it."""
        ...

    def replace(self, arrived: Arrived, name: str) -> None:
        """As `keep`, whoever has the name."""
        ...

    def settle(self, name: str) -> None:
        """Make durable what `keep` and `replace` have put beside `name` so far, all at once."""
        ...

    def put(self, name: str, data: bytes) -> None: ...

    def note(self, name: str, data: bytes) -> None:
        """As `put`, but a power cut may take it: for what can be worked out again from other objects."""
        ...

    def move(self, name: str, new: str) -> None:
        """Give an object another name."""
        ...

    def locate(self, name: str) -> Path | Link:
        """Where a reader finds the object's bytes."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """The object's bytes. Raises HubRefused (410) if it is gone."""
        ...

    def size(self, name: str) -> int | None:
        """In bytes; None if there is no such object."""
        ...

    def modified(self, name: str) -> float | None:
        """When it was put last (Unix time, s); None if there is no such object."""
        ...

    def names(self, prefix: str) -> Sequence[str]:
        """Of all objects below `prefix`, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Nothing happens if it is gone already."""
        ...


def hash_of(chunks: Iterable[bytes]) -> str:
    """The blake3 of all of them."""
    hasher = blake3()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()


def check_size(size: int, limit: int) -> None:
    """Raise HubRefused (413) if `size` bytes are more than `limit`."""
    if size > limit:
        raise HubRefused(
            "body",
            f"is larger than {limit / 1e6:g} MB",
            "raise hub.max_episode_mb, or hub.max_blob_mb for weights, or send less",
            status=413,
        )


def gone(name: str) -> HubRefused:
    return HubRefused(name, "was here, but is gone", "restore the hub's store", status=410)


def not_uploaded(key: str) -> HubRefused:
    return HubRefused("upload", f"of {key} has not come", "send its bytes first", status=404)


@contextmanager
def available(path: Path | None = None) -> Iterator[None]:
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
