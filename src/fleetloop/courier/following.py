"""A release that is fetched and decoded while the learner still makes it, before its manifest says what it is.

What is followed is a draft: unsigned, and promised by nobody. What comes of it is verified by the manifest like what
came any other way, and thrown away if the manifest names other blobs.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.hub import STABLE
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.weights.codec import checked


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
        get_blob: Callable[[str], bytes],
        *,
        at_once: int,
        wait_s: float,
        most_bytes: int,
    ) -> None:
        """Fetches `at_once` blobs in threads, waits up to `wait_s` real seconds for more, takes up to `most_bytes`."""
        self.release: Release | None = None
        self._hub, self._get_blob, self._draft = hub, get_blob, draft
        self._at_once, self._wait_s, self._most_bytes = max(1, at_once), wait_s, most_bytes
        self._taken = 0

    def blobs(self) -> Iterator[bytes]:
        """In order, each as soon as it is here; ends when there is a manifest that names exactly these.

        Raises:
            ReleaseInvalid: the manifest names others, there is none in time, or a blob is damaged.
            HubRefused, HubUnavailable; DiskTrouble.
        """
        waiting = deque[Future[bytes]]()
        pool = ThreadPoolExecutor(self._at_once, "following")
        try:
            while True:
                if len(waiting) < self._at_once:
                    waiting.extend(pool.submit(self._fetch, entry) for entry in self._more(patient=not waiting))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    @property
    def size(self) -> int:
        """Bytes of the blobs so far."""
        return self._draft.size

    def _more(self, *, patient: bool) -> tuple[BlobEntry, ...]:
        """Those that nobody has taken yet. The patient wait until there is one, or a manifest."""
        if self._taken == len(self._draft.blobs) and self.release is None:
            self._listen(self._wait_s if patient else 0.0)
        entries = self._draft.blobs[self._taken :]
        self._taken += len(entries)
        if patient and not entries and self.release is None:
            raise ReleaseInvalid("draft", f"did not become a release within {self._wait_s:g} s")
        return entries

    def _listen(self, wait_s: float) -> None:
        known = self._draft
        said = self._hub.coming(STABLE, after=known.base, blobs=len(known.blobs), wait_s=wait_s)
        if said is None:
            return
        if isinstance(said, Release):
            self.release = said
            said = _same_way(said, known)
        if (said.codec, said.base, said.blobs[: len(known.blobs)]) != (known.codec, known.base, known.blobs):
            raise ReleaseInvalid("draft", "became another release")
        if said.size > self._most_bytes:
            raise ReleaseInvalid("draft", f"takes {said.size} bytes, more than the tensors themselves")
        self._draft = said

    def _fetch(self, entry: BlobEntry) -> bytes:
        return checked(entry, self._get_blob(entry.hash))


def _same_way(release: Release, draft: Encoding) -> Encoding:
    for encoding in release.encodings:
        if (encoding.codec, encoding.base) == (draft.codec, draft.base):
            return encoding
    raise ReleaseInvalid("draft", f"is no way to release {release.version}")
