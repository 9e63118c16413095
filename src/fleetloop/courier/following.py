"""A release that is fetched and decoded while the learner still makes it, before its manifest says what it is.

What is followed is a draft: unsigned, and promised by nobody. What comes of it is verified by the manifest like what
came any other way, and thrown away if the manifest names other blobs.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event
from typing import Any, Protocol

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.hub import STABLE
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.weights.codec import checked

LISTEN_S = 1.0
"""Real seconds that one request waits: so long may it take until nobody listens any more."""


class Coming(Protocol):
    """Where drafts and manifests are heard of: a hub."""

    def coming(
        self, name: str, *, after: int = 0, blobs: int = 0, wait_s: float = 0.0
    ) -> Release | Encoding | None: ...


class Following:
    """One draft, from its first blobs to the manifest.

    Attributes:
        release: the manifest that ended it; None until then.
    """

    def __init__(
        self,
        hub: Coming,
        draft: Encoding,
        get_blob: Callable[[BlobEntry], bytes],
        *,
        at_once: int,
        wait_s: float,
        most_bytes: int,
    ) -> None:
        """Fetches `at_once` blobs in threads, waits up to `wait_s` real seconds for more, takes up to `most_bytes`.

        `get_blob` keeps what it has fetched: it is asked once ahead of the decoder, and once by it.
        """
        self.release: Release | None = None
        self._hub, self._get_blob, self._draft = hub, get_blob, draft
        self._at_once, self._wait_s, self._most_bytes = max(1, at_once), wait_s, most_bytes
        self._over = Event()

    @property
    def size(self) -> int:
        """Bytes of the blobs so far."""
        return self._draft.size

    @contextmanager
    def blobs(self) -> Iterator[Iterator[bytes]]:
        """In order, each as soon as it is here; fetching begins at once. Ends with a manifest that names exactly these.

        What is asked for them raises:
            ReleaseInvalid: the manifest names others, there is none in time, or a blob is damaged.
            HubRefused, HubUnavailable; DiskTrouble.
        """
        pool = ThreadPoolExecutor(1 + self._at_once, "following")
        told = SimpleQueue[tuple[BlobEntry | None, Future[Any]]]()
        heard = pool.submit(self._hear, pool, told)
        heard.add_done_callback(lambda done: told.put((None, done)))
        try:
            yield self._arrived(told)
        finally:
            self.stop()
            pool.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Nobody wants the rest. Callable from any thread; who waits for blobs gets no more of them."""
        self._over.set()

    def _hear(self, pool: ThreadPoolExecutor, told: SimpleQueue[tuple[BlobEntry | None, Future[Any]]]) -> None:
        for entry in self._entries():
            if self._over.is_set():
                return
            told.put((entry, pool.submit(self._fetch, entry)))

    def _arrived(self, told: SimpleQueue[tuple[BlobEntry | None, Future[Any]]]) -> Iterator[bytes]:
        while True:
            entry, arrived = told.get()
            try:
                arrived.result()
            finally:
                del arrived  # its error knows this frame, and those that hold the arrays: they would outlive it
            if entry is None:
                return
            yield checked(entry, self._get_blob(entry))

    def _fetch(self, entry: BlobEntry) -> None:
        self._get_blob(entry)  # to the disk: decoding may lag behind, and memory is short on robots

    def _entries(self) -> Iterator[BlobEntry]:
        self._check_size(self._draft)
        taken = 0
        while True:
            yield from self._draft.blobs[taken:]
            taken = len(self._draft.blobs)
            if self.release is not None or self._over.is_set():
                return
            self._await_more()

    def _await_more(self) -> None:
        """Until the draft has grown, or has become a release."""
        known, left_s = self._draft, self._wait_s
        while self._draft is known and not self._over.is_set():
            self._listen(min(left_s, LISTEN_S))
            left_s -= LISTEN_S
            if self._draft is known and left_s <= 0:
                raise ReleaseInvalid("draft", f"did not become a release within {self._wait_s:g} s")

    def _listen(self, wait_s: float) -> None:
        known = self._draft
        said = self._hub.coming(STABLE, after=known.base, blobs=len(known.blobs), wait_s=wait_s)
        if said is None or said == known:
            return
        if isinstance(said, Release):
            self.release = said
            said = _same_way(said, known)
        if (said.codec, said.base, said.blobs[: len(known.blobs)]) != (known.codec, known.base, known.blobs):
            raise ReleaseInvalid("draft", "became another release")
        self._check_size(said)
        self._draft = said

    def _check_size(self, draft: Encoding) -> None:
        if draft.size > self._most_bytes:
            raise ReleaseInvalid("draft", f"takes {draft.size} bytes, more than the tensors themselves")


def _same_way(release: Release, draft: Encoding) -> Encoding:
    for encoding in release.encodings:
        if (encoding.codec, encoding.base) == (draft.codec, draft.base):
            return encoding
    raise ReleaseInvalid("draft", f"is no way to release {release.version}")
