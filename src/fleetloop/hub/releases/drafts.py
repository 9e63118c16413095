"""What the learner is making: the blobs so far of an encoding, for those who have its base."""

from fleetloop.core.release import Encoding
from fleetloop.hub.bell import Bell


class Drafts:
    """Kept in memory alone: a draft that is lost costs its followers time, and nothing else.

    Attributes:
        news: rung when there is more of a draft, or when a channel may have moved.
    """

    def __init__(self) -> None:
        self.news = Bell()
        self._draft: Encoding | None = None

    def set(self, draft: Encoding) -> None:
        self._draft = draft
        self.news.ring()

    def end(self) -> None:
        """There is a manifest now, which rings for itself."""
        self._draft = None

    def beyond(self, base: int, blobs: int) -> Encoding | None:
        """The draft, if it is relative to release `base` and has more than so many blobs."""
        draft = self._draft
        return draft if draft and draft.base == base and len(draft.blobs) > blobs else None
