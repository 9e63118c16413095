"""Objects in a bucket that speaks S3. Robots put what is large there themselves, and readers fetch from there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate, chain, takewhile
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store as Bucket

from fleetloop.core.disk import Disk
from fleetloop.core.errors import ConfigInvalid, HubRefused, HubUnavailable
from fleetloop.hub.storage.directory import INCOMING, Staging
from fleetloop.hub.storage.objects import Arrived, Incoming, Link, Part, Place, gone, hash_of, not_uploaded

if TYPE_CHECKING:
    from obstore import ObjectMeta

LINK_S = timedelta(hours=1)
# S3 makes only what comes as one PUT conditional, or as a copy.
LARGEST_PUT = 300_000_000
PART_BYTES = 8 << 20
"""Of an upload; what is interrupted loses at most as much. Each is an object, named by where it begins: links can be
signed for plain PUTs alone."""
PATIENCE = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}


class S3Store:
    """As durable as the bucket is. One hub writes below a prefix; a second one by mistake replaces no episode of its.

    Credentials, region and endpoint come from the environment (`AWS_ACCESS_KEY_ID`, …, `AWS_ENDPOINT_URL`).
    """

    def __init__(self, url: str, staging: Path, disk: Disk) -> None:
        """`url`: s3://BUCKET/PREFIX. `staging`: a directory of this machine for what the hub looks into.

        Raises:
            ConfigInvalid: if the environment has no usable settings.
        """
        self._url, self._staging = url, Staging(staging, disk)
        try:
            self._bucket = Bucket.from_url(
                url,
                copy_if_not_exists="multipart",
                client_options={"allow_http": True, "connect_timeout": "2s", "timeout": "120s"},
                retry_config=PATIENCE,  # type: ignore[arg-type]
            )
        except (BaseError, ValueError) as error:
            problem = f"{url} can't be used ({_brief(error)})"
            raise ConfigInvalid("hub.store", problem, "look at the hub's AWS_… settings") from error

    # ------------------------------------------------------------------ uploads

    def incoming(self, limit: int) -> Incoming:
        return self._staging.incoming(limit)

    def begin(self, key: str, size: int) -> Place:
        offset = sum(part["size"] for part in self._parts(key))  # tells too whether the bucket can be reached
        if offset > size:  # no part of these bytes
            self.discard(key)
            offset = 0
        length = min(size - offset, PART_BYTES)
        if not length:
            return Place(offset, 0)
        return Place(offset, length, obstore.sign(self._bucket, "PUT", f"{INCOMING}/{key}/{offset:012d}", LINK_S))

    def append(self, key: str, offset: int, limit: int) -> Part:
        raise HubRefused("upload", "does not go to the hub", "put it where the hub says", status=409)

    @contextmanager
    def collect(self, key: str, limit: int) -> Iterator[Arrived]:
        names = [part["path"] for part in self._parts(key)]
        if not names:
            raise not_uploaded(key)
        with self._staging.incoming(limit) as incoming:
            for chunk in chain.from_iterable(map(self.read, names)):
                incoming.write(chunk)
            whole = incoming.finish()
            # One part is copied inside the bucket. S3 joins no objects: of several, the hub puts what it has read.
            yield Arrived(whole.path, whole.size, whole.hash, object=names[0] if len(names) == 1 else "")

    def discard(self, key: str) -> None:
        with self._reached():
            if names := [part["path"] for part in self._below(f"{INCOMING}/{key}/")]:
                obstore.delete(self._bucket, names)

    def _parts(self, key: str) -> Sequence["ObjectMeta"]:
        """Those that follow one on the other from the beginning."""
        with self._reached():
            found = sorted(self._below(f"{INCOMING}/{key}/"), key=itemgetter("path"))
        ends = accumulate((part["size"] for part in found), initial=0)
        return [part for part, _ in takewhile(_goes_on, zip(found, ends, strict=False))]

    def _below(self, prefix: str) -> "Iterator[ObjectMeta]":
        return chain.from_iterable(obstore.list(self._bucket, prefix))

    def sweep(self, before: float) -> int:
        with self._reached():
            old = [one["path"] for one in self._below(INCOMING) if one["last_modified"].timestamp() < before]
            if old:
                obstore.delete(self._bucket, old)
        return len(old)

    # ------------------------------------------------------------------ objects

    def keep(self, arrived: Arrived, name: str) -> bool:
        try:
            self._place(arrived, name, replace=False)
        except AlreadyExistsError:
            return self.size(name) == arrived.size and hash_of(self.read(name)) == arrived.hash
        return True

    def replace(self, arrived: Arrived, name: str) -> None:
        self._place(arrived, name, replace=True)

    def settle(self, name: str) -> None:
        """What a bucket has acknowledged is durable."""

    def _place(self, arrived: Arrived, name: str, *, replace: bool) -> None:
        if arrived.object:
            self._copy(arrived.object, name, replace=replace)
            return
        if arrived.size > LARGEST_PUT:
            self._place_large(arrived, name, replace=replace)
            return
        with self._reached():
            mode: Literal["overwrite", "create"] = "overwrite" if replace else "create"
            obstore.put(self._bucket, name, arrived.path, mode=mode, use_multipart=False)

    def _place_large(self, arrived: Arrived, name: str, *, replace: bool) -> None:
        passing = f"{INCOMING}/{arrived.hash}"
        with self._reached():
            obstore.put(self._bucket, passing, arrived.path)
        try:
            self._copy(passing, name, replace=replace)
        finally:
            self.remove(passing)

    def _copy(self, name: str, new: str, *, replace: bool) -> None:
        try:
            with self._reached():
                obstore.copy(self._bucket, name, new, overwrite=replace)
        except FileNotFoundError as error:
            raise HubUnavailable("upload", "was taken by another hub meanwhile", "ask again") from error

    def put(self, name: str, data: bytes) -> None:
        with self._reached():
            obstore.put(self._bucket, name, data, use_multipart=False)

    def note(self, name: str, data: bytes) -> None:
        self.put(name, data)

    def move(self, name: str, new: str) -> None:
        with self._reached(name):
            obstore.copy(self._bucket, name, new)
        self.remove(name)

    def remove(self, name: str) -> None:
        with self._reached():
            obstore.delete(self._bucket, name)

    def locate(self, name: str) -> Link:
        return Link(obstore.sign(self._bucket, "GET", name, LINK_S))

    def read(self, name: str) -> Iterator[bytes]:
        with self._reached(name):
            for chunk in obstore.get(self._bucket, name).stream():
                yield bytes(chunk)

    def size(self, name: str) -> int | None:
        found = self._head(name)
        return found and found["size"]

    def modified(self, name: str) -> float | None:
        found = self._head(name)
        return found and found["last_modified"].timestamp()

    def _head(self, name: str) -> "ObjectMeta | None":
        try:
            with self._reached():
                return obstore.head(self._bucket, name)
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> Sequence[str]:
        with self._reached():
            return sorted(one["path"] for one in self._below(f"{prefix}/"))

    @contextmanager
    def _reached(self, name: str = "") -> Iterator[None]:
        """What goes wrong with the bucket is for the hub's callers a hub that can't serve now."""
        try:
            yield
        except AlreadyExistsError:
            raise
        except FileNotFoundError as error:
            if name:
                raise gone(name) from error
            raise
        except (BaseError, OSError) as error:
            host = urlsplit(self._url).netloc
            remedy = "look at the bucket, the network and the hub's AWS_… settings"
            raise HubUnavailable("hub.store", f"s3://{host} can't serve now ({_brief(error)})", remedy) from error


def _goes_on(found: "tuple[ObjectMeta, int]") -> bool:
    """Whether a part begins where those before it end."""
    part, end = found
    return part["path"].endswith(f"/{end:012d}")


def _brief(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
