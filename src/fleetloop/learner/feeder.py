"""Brings the hub's events to the learner: fetches episodes into a local cache, labels and decodes them.

Runs beside the training loop (on a thread of its own in `run.py`), so that a step boundary only has to copy arrays.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from fleetloop.core.algorithm import Algorithm
from fleetloop.core.disk import Disk
from fleetloop.core.episode import Episode, judged
from fleetloop.core.errors import EpisodeInvalid, HubRefused, SpecMismatch
from fleetloop.core.hub import Event, Hub
from fleetloop.core.outcome import Annotation, standing
from fleetloop.core.policy import Features
from fleetloop.core.recording import SEALED
from fleetloop.core.spec import PolicySpec
from fleetloop.learner.arrival import Arrival, prepare

GONE = 410  # HTTP's word for what was there and will not come back


class Feeder:
    """Events in order, each turned into an Arrival.

    Attributes:
        alarm: the last episode that could not be used and why; empty if there was none.
        refused: how many those were.
    """

    def __init__(
        self,
        hub: Hub,
        disk: Disk,
        algorithm: Algorithm,
        spec: PolicySpec,
        cache: Path,
        *,
        inbox: int = 64,
        features: Features | None = None,
    ) -> None:
        self.alarm, self.refused = "", 0
        self._hub, self._disk, self._algorithm, self._spec = hub, disk, algorithm, spec
        self._cache, self._most_waiting, self._features = cache, inbox, features
        self._after = 0
        self._waiting: deque[Arrival] = deque()
        self._annotations: dict[str, list[Annotation]] = {}
        self._gone: set[str] = set()
        disk.make(cache)

    @property
    def full(self) -> bool:
        """Whether nothing is fetched before something is taken."""
        return len(self._waiting) >= self._most_waiting

    def pull(self, wait_s: float = 0.0) -> int:
        """Deal with the hub's next events; returns how many. Waits up to `wait_s` real seconds for the first one.

        Fetches nothing while `inbox` arrivals wait to be taken: the hub keeps what comes in the meantime.

        Raises:
            HubUnavailable: call again later; nothing is lost or doubled.
            LabelsInvalid: the algorithm's labels don't fit an episode.
        """
        room = self._most_waiting - len(self._waiting)
        if room <= 0:
            return 0
        events = self._hub.events(self._after, limit=room, wait_s=wait_s)
        for event in events:
            self._waiting.append(self._arrival(event))
            self._after = event.seq
        return len(events)

    def take(self, until: int | None = None) -> Sequence[Arrival]:
        """What has arrived, in order; with `until`, only up to that cursor."""
        taken = []
        while self._waiting and (until is None or self._waiting[0].seq <= until):
            taken.append(self._waiting.popleft())
        return taken

    def _arrival(self, event: Event) -> Arrival:
        if event.kind == "tombstone":
            return self._let_go(event)
        if event.kind == "annotation":
            annotation = Annotation.from_json(dict(event.data))
            self._annotations.setdefault(annotation.episode, []).append(annotation)
            # A word on quality changes no buffer.
            if annotation.episode in self._gone or (annotation.outcome is None and annotation.exclude is None):
                return Arrival(event.seq)
            return self._admit(event.seq, annotation.episode)
        if event.kind != "episode" or event.data.get("purpose") == "evaluation":
            return Arrival(event.seq)
        if event.data.get("tombstone") and self._is_removed(event.ref):
            self._gone.add(event.ref)
            return Arrival(event.seq)
        return self._admit(event.seq, event.ref)

    def _is_removed(self, id: str) -> bool:
        """Whether an episode that has a tombstone has lost its bytes too."""
        try:
            self._fetched(id)
        except HubRefused as error:
            return error.status == GONE
        except EpisodeInvalid:
            return False  # it is there, and refused as any other
        return False

    def _let_go(self, event: Event) -> Arrival:
        self._gone.discard(event.ref)  # nobody says anything about it any more
        self._annotations.pop(event.ref, None)
        self._disk.remove(self._cache / f"{event.ref}{SEALED}")
        return Arrival(event.seq, event.ref, gone=True)

    def _admit(self, seq: int, id: str) -> Arrival:
        """The episode as all annotations up to this event would have it; refused, with an alarm, if it is unusable."""
        said = self._annotations.get(id, [])
        if standing(said, "exclude"):
            return Arrival(seq, id)
        try:
            episode = self.episode(id)
            if episode.meta.purpose == "evaluation":
                return Arrival(seq)
            return Arrival(seq, id, prepare(episode, self._algorithm, self._spec, self._features))
        except (EpisodeInvalid, SpecMismatch, HubRefused) as error:
            self.refused += 1
            self.alarm = f"episode {id} can't be used: {error}"
            return Arrival(seq, id)

    def episode(self, id: str) -> Episode:
        """From the cache or the hub, with the outcome that all annotations so far give it. Any thread may ask.

        Raises EpisodeInvalid, HubRefused, HubUnavailable.
        """
        return judged(self._fetched(id), list(self._annotations.get(id, [])))

    def _fetched(self, id: str) -> Episode:
        path = self._cache / f"{id}{SEALED}"
        if path.exists():
            try:
                return Episode.open(path)
            except EpisodeInvalid:
                self._disk.remove(path)  # a power cut can leave a torn copy; the hub has the whole
        incoming = path.with_suffix(".part")
        self._hub.get_episode(id, incoming)
        self._disk.rename(incoming, path)
        return Episode.open(path)
