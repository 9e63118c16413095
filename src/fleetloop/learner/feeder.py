"""Brings the hub's events to the learner: fetches episodes into a local cache, labels and decodes them.

Runs beside the training loop (on a thread of its own in `run.py`), so that a step boundary only has to copy arrays.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock

from fleetloop.core.algorithm import Algorithm
from fleetloop.core.episode import Episode, judged
from fleetloop.core.errors import EpisodeInvalid, HubRefused, HubUnavailable, SpecMismatch
from fleetloop.core.hub import Event, Hub
from fleetloop.core.outcome import Annotation, standing
from fleetloop.core.policy import Features
from fleetloop.core.spec import PolicySpec
from fleetloop.learner.arrival import Arrival, Prepared, labelled, prepare
from fleetloop.learner.buffer.cache import EpisodeCache

UNKNOWN, GONE = 404, 410  # HTTP's words for what is not there, and for what was and will not come back


class Feeder:
    """Events in order, each turned into an Arrival.

    Attributes:
        alarm: the last episode that could not be used and why; empty if there was none.
        refused: how many those were.
    """

    def __init__(
        self,
        hub: Hub,
        cache: EpisodeCache,
        algorithm: Algorithm,
        spec: PolicySpec,
        *,
        inbox: int = 64,
        inbox_bytes: int = 1 << 30,
        features: Features | None = None,
    ) -> None:
        self.alarm, self.refused = "", 0
        self._hub, self._cache, self._by = hub, cache, (algorithm, spec)
        self._most_waiting, self._most_bytes, self._features = inbox, inbox_bytes, features
        self._after = 0
        self._waiting: deque[tuple[Arrival, int]] = deque()  # each with the bytes that were decoded of it
        self._waiting_bytes, self._lock = 0, Lock()  # one thread pulls, another takes
        self._annotations: dict[str, list[Annotation]] = {}
        self._gone: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether nothing is fetched before something is taken."""
        return len(self._waiting) >= self._most_waiting or self._waiting_bytes >= self._most_bytes

    def pull(self, wait_s: float = 0.0) -> int:
        """Deal with the hub's next events; returns how many. Waits up to `wait_s` real seconds for the first one.

        Fetches nothing while `inbox` arrivals wait to be taken, or what was decoded of them has `inbox_bytes`: the hub
        keeps what comes in the meantime.

        Raises:
            HubUnavailable: call again later; nothing is lost or doubled.
            LabelsInvalid: the algorithm's labels don't fit an episode.
        """
        if self.full:
            return 0
        room = self._most_waiting - len(self._waiting)
        events, dealt = self._hub.events(self._after, limit=room, wait_s=wait_s), 0
        while dealt < len(events) and not self.full:
            self._wait(self._arrival(events[dealt]))
            self._after = events[dealt].seq
            dealt += 1
        return dealt

    def take(self, until: int | None = None) -> Sequence[Arrival]:
        """What has arrived, in order; with `until`, only up to that cursor."""
        taken = []
        with self._lock:
            while self._waiting and (until is None or self._waiting[0][0].seq <= until):
                arrival, size = self._waiting.popleft()
                self._waiting_bytes -= size
                taken.append(arrival)
        return taken

    def _wait(self, arrival: Arrival) -> None:
        seen = (arrival.prepared.seen if arrival.prepared else None) or {}
        size = sum(values.nbytes for values in seen.values())
        with self._lock:
            self._waiting.append((arrival, size))
            self._waiting_bytes += size

    def _arrival(self, event: Event) -> Arrival:
        if event.kind == "tombstone":
            return self._let_go(event)
        if event.kind == "annotation":
            return self._reconsidered(event)
        if event.kind != "episode" or event.data.get("purpose") == "evaluation":
            return Arrival(event.seq)
        if event.data.get("tombstone") and self._is_removed(event.ref):
            self._gone.add(event.ref)
            return Arrival(event.seq)
        return self._admit(event.seq, event.ref, lambda episode: prepare(episode, *self._by, self._features))

    def _reconsidered(self, event: Event) -> Arrival:
        annotation = Annotation.from_json(dict(event.data))
        id = annotation.episode
        self._annotations.setdefault(id, []).append(annotation)
        if id in self._gone:
            return Arrival(event.seq)
        if annotation.outcome is None and annotation.exclude is None:
            quality = self._quality(id)
            return Arrival(event.seq) if quality is None else Arrival(event.seq, id, quality=quality)
        # Its images stay what they are: nobody need look at them again.
        return replace(self._admit(event.seq, id, lambda episode: labelled(episode, *self._by)), known=True)

    def _is_removed(self, id: str) -> bool:
        """Whether an episode that has a tombstone has lost its bytes too."""
        try:
            self._cache.open(id)
        except HubRefused as error:
            return error.status == GONE
        except EpisodeInvalid:
            return False  # it is there, and refused as any other
        return False

    def _let_go(self, event: Event) -> Arrival:
        self._gone.discard(event.ref)  # nobody says anything about it any more
        self._annotations.pop(event.ref, None)
        self._cache.remove(event.ref)
        return Arrival(event.seq, event.ref, gone=True)

    def _admit(self, seq: int, id: str, prepared: Callable[[Episode], Prepared]) -> Arrival:
        """The episode as all annotations up to this event would have it; refused, with an alarm, if it is unusable."""
        said = self._annotations.get(id, [])
        if standing(said, "exclude"):
            return Arrival(seq, id)
        try:
            episode = self.episode(id)
            if episode.meta.purpose == "evaluation":
                return Arrival(seq)
            return Arrival(seq, id, replace(prepared(episode), quality=self._quality(id)))
        except (EpisodeInvalid, SpecMismatch, HubRefused) as error:
            self.refused += 1
            self.alarm = f"episode {id} can't be used: {error}"
            return Arrival(seq, id)

    def _quality(self, id: str) -> float | None:
        quality: float | None = standing(self._annotations.get(id, []), "quality")
        return quality

    def episode(self, id: str) -> Episode:
        """From the cache or the hub, with the outcome that all annotations so far give it. Any thread may ask.

        Raises EpisodeInvalid; HubRefused where the hub has it no more; HubUnavailable, for any other refusal too.
        """
        try:
            held = self._cache.open(id)
        except HubRefused as error:
            if error.status in (UNKNOWN, GONE):
                raise
            raise HubUnavailable("hub", f"refuses episode {id} ({error})") from error  # which says nothing of it
        return judged(held, list(self._annotations.get(id, [])))
