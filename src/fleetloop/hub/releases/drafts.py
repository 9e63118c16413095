"""What the learner is making: the blobs so far of an encoding, for those who have its base."""

from fleetloop.core.clock import Clock
from fleetloop.core.release import BlobEntry, Encoding
from fleetloop.hub.bell import Bell

STALE_S = 60.0
"""Clock seconds after which a draft that has not grown is told of no more: its learner may be dead."""
NONE = Encoding("", 0, ())


class Drafts:
    """Kept in memory alone: a draft that is lost costs its followers time, and nothing else.

    Attributes:
        news: rung when there is more of a draft, or when a channel may have moved.
    """

    def __init__(self, clock: Clock) -> None:
        self.news, self._clock = Bell(), clock
        self._draft, self._grown = NONE, 0.0

    def set(self, draft: Encoding) -> None:
        self._draft, self._grown = draft, self._clock.now()
        self.news.ring()

    def new(self, draft: Encoding) -> tuple[BlobEntry, ...]:
        """What it has more than the one before, if it goes on from that; else all of it."""
        before = self._draft
        count = len(before.blobs)
        goes_on = (draft.codec, draft.base, draft.blobs[:count]) == (before.codec, before.base, before.blobs)
        return draft.blobs[count:] if goes_on else draft.blobs

    def end(self) -> None:
        """It has become a release, or never will."""
        if self._draft is not NONE:
            self._draft = NONE
            self.news.ring()

    def step(self, now: float) -> float:
        """End what has not grown for long; returns when to call again, both in clock seconds."""
        if now - self._grown >= STALE_S:
            self.end()
        return now + STALE_S / 2

    def beyond(self, base: int, blobs: int) -> Encoding | None:
        """The draft, if it is relative to release `base` and has more than so many blobs."""
        draft = self._draft
        return draft if draft.base == base and len(draft.blobs) > blobs else None
