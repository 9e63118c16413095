"""What has arrived, into the buffer: episodes, what was said of them, and what is to be forgotten."""

from collections.abc import Iterable, Sequence

from fleetloop.core.errors import EpisodeInvalid
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome
from fleetloop.learner.arrival import Arrival, Prepared
from fleetloop.learner.figures import Journey
from fleetloop.learner.parts import Parts


class Intake:
    """Works between two optimizer steps.

    Attributes:
        cursor: the last event that the buffer has taken in.
        epoch: (step, cursor) at which what came in last became visible; always at a step boundary.
        demonstrated: how many of the buffer's first rows are demonstrations from this machine's disk.
        frames: online ones that train, ever; last_news: when some came last (clock seconds).
        journey: of the episodes that came in, to their first draw.
        lost: the last episode that could not be read any more, and why; empty if there was none.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.cursor = self.demonstrated = self.frames = 0
        self.epoch = 0, 0
        self.last_news, self.journey, self.lost = parts.clock.now(), Journey(parts.clock), ""

    def admit_demonstrations(self, demonstrations: Iterable[Prepared]) -> None:
        """Demonstrations that come from this machine's disk, not from the hub. Before the first step, in one order."""
        for prepared in demonstrations:
            self._parts.buffer.ingest(self._parts.relabelling.admitted(prepared, ours=True))
        self.demonstrated = len(self._parts.buffer.episodes)

    def admit(self, arrivals: Sequence[Arrival], step: int, now: float) -> None:
        """Make what has arrived visible to the next draw."""
        if not arrivals:
            return
        for arrival in arrivals:
            self._admit_one(arrival, now)
        self.cursor = arrivals[-1].seq
        self.epoch = step, self.cursor

    def lose(self, episode: str, why: str) -> None:
        """What can't be read is held no more."""
        self._retire(episode)
        self.lost = why

    def _admit_one(self, arrival: Arrival, now: float) -> None:
        parts = self._parts
        if arrival.gone:
            parts.buffer.forget(arrival.episode)
        if arrival.quality is not None and arrival.prepared is None:
            parts.buffer.selection.grade(arrival.episode, arrival.quality)
            return
        if arrival.prepared is None:
            self._retire(arrival.episode)
            return
        try:
            prepared = parts.relabelling.admitted(arrival.prepared)
        except EpisodeInvalid as error:  # its pictures were not looked at before
            self.lose(arrival.episode, f"episode {arrival.episode} can't be used: {error}")
            return
        self._count(prepared, parts.buffer.ingest(prepared), arrival.known, now)

    def _count(self, prepared: Prepared, fresh: int, known: bool, now: float) -> None:
        """`fresh`: its online samples that were not held before; `known`: whether the episode came before."""
        episode = prepared.episode
        if fresh:
            self.journey.admit(episode, now)
            self.last_news = now
            self.frames += fresh
        if episode.meta.purpose == "online" and not known:
            unaided = episode.meta.outcome is Outcome.SUCCESS and not (episode.source == Source.HUMAN).any()
            self._parts.sampler.note_episode(self._parts.buffer.tasks.index(episode.meta.task), unaided)

    def _retire(self, episode: str) -> None:
        self._parts.buffer.retire(episode)
        self._parts.relabelling.retired(episode)
