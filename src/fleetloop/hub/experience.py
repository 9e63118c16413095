"""Experience in: episodes, what was said about them later, and the one cursor that delivers both."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetloop.core.clock import Clock
from fleetloop.core.episode import Episode
from fleetloop.core.errors import EpisodeInvalid, HubRefused, UnknownName
from fleetloop.core.hub import Acknowledgement, Event
from fleetloop.core.ids import is_id
from fleetloop.core.outcome import Annotation, Judge, Outcome, standing
from fleetloop.core.turns import Turns
from fleetloop.core.validation import validate
from fleetloop.hub.admission import Admission, episode_object, event_json, event_object, known
from fleetloop.hub.bell import Bell
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.storage.objects import CHUNK, Arrived, Link, ObjectStore, gone, hash_of

log = logging.getLogger(__name__)

QUARANTINE = "quarantine"
MOST_ROWS = 10_000
"""Rows or events in one answer."""


class Experience:
    """Episodes and annotations. Safe to call from several threads.

    Raises HubUnavailable when it is made, as every call may, if the store or the catalog can't serve.

    Attributes:
        news: rung when there are new events.
    """

    def __init__(
        self, catalog: Catalog, objects: ObjectStore, clock: Clock, *, tasks: Collection[str], max_bytes: int
    ) -> None:
        self.news = Bell()
        self._catalog, self._objects = catalog, objects
        self._tasks, self._max_bytes = tuple(tasks), max_bytes
        self._admission = Admission(catalog, objects, clock, self.news)
        self._turns, self._run = Turns(), ""
        self._damaged = {Path(name).stem for name in objects.names(QUARANTINE)}

    # ------------------------------------------------------------------ episodes

    @property
    def alarm(self) -> str:
        """What is wrong with what is kept, in a line; empty if nothing is."""
        damaged = sorted(self._damaged)
        if not damaged:
            return ""
        return f"{len(damaged)} episodes are damaged or gone, the newest is {damaged[-1]}; restore the hub's store"

    def put(self, id: str, path: Path, hash: str) -> Acknowledgement:
        """Take a sealed file from this machine's disk."""
        with self._objects.incoming(self._max_bytes) as incoming:
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    incoming.write(chunk)
            return self.accept(id, incoming.finish(), hash)

    def known(self, id: str, hash: str) -> Acknowledgement | None:
        """What was acknowledged already and is there. Raises HubRefused (409) if the id is known with other bytes."""
        with self._catalog.reading() as records:
            acknowledged = known(records, id, hash)
            return None if self._is_wanted_back(records, id) else acknowledged

    def accept(
        self, id: str, arrived: Arrived, hash: str, *, check_robot: Callable[[str], None] = lambda robot: None
    ) -> Acknowledgement:
        """Check what has arrived and keep it, or refuse it and keep nothing.

        Raises:
            EpisodeInvalid, UnknownName: naming the field that is wrong.
            HubRefused: 409 if the id is known with other bytes; and what `check_robot` raises of the episode's robot.
        """
        if not is_id(id):
            raise EpisodeInvalid("id", f"{id!r} is no ULID")
        if arrived.hash != hash:
            raise EpisodeInvalid("hash", f"the bytes that came hash to {arrived.hash}, not to {hash}", "send it again")
        with self._turns.of(id):
            with self._catalog.reading() as records:
                acknowledged, wanted_back = known(records, id, hash), self._is_wanted_back(records, id)
                self._learn_run(records)
            if acknowledged and not wanted_back:
                self.news.ring()  # whoever sends again was told nothing: it may be that nobody was
                return acknowledged
            if acknowledged is None:
                episode = self._checked(id, arrived.path)
                check_robot(episode.meta.robot)
                acknowledged = self._admission.admit(episode, arrived)
            else:
                self._objects.replace(arrived, episode_object(id))
                self._objects.settle(episode_object(id))
                log.warning("%s was damaged or gone, and has come again", id)
            self._is_whole_again(id)
            return acknowledged

    def _is_wanted_back(self, records: Records, id: str) -> bool:
        """Whether an episode is damaged or gone, and meant to be there."""
        row = records.episode(id)
        if row is None or row["tombstone"]:
            return False
        return id in self._damaged or self._objects.size(episode_object(id)) is None

    def _is_whole_again(self, id: str) -> None:
        """It may be known as damaged although the catalog lost it, and be gone although nobody has noticed."""
        if id in self._damaged:
            self._objects.remove(quarantine_object(id))
            self._damaged.discard(id)

    def locate(self, id: str) -> tuple[Path | Link, str]:
        """Where the sealed file is, and its hash. Raises HubRefused: 410 if it is damaged or gone."""
        row = self._whole(id)
        if self._objects.size(episode_object(id)) is None:
            raise self._lost(row, gone(episode_object(id)))
        return self._objects.locate(episode_object(id)), row["hash"]

    def read(self, id: str) -> tuple[Iterator[bytes], str]:
        """The sealed file's bytes, and its hash. Raises as `locate`."""
        _, hash = self.locate(id)
        return self._objects.read(episode_object(id)), hash

    def check(self, id: str) -> None:
        """Read an episode anew, for somebody whom other bytes reached; a damaged one is put aside.

        Raises:
            HubRefused: 410 if it is damaged or gone.
        """
        row = self._whole(id)
        try:
            found = hash_of(self._objects.read(episode_object(id)))
        except HubRefused as error:
            raise self._lost(row, error) from error
        if found != row["hash"]:
            self._objects.move(episode_object(id), quarantine_object(id))
            raise self._lost(row, _damaged(id))

    def _whole(self, id: str) -> Mapping[str, Any]:
        """The row of an episode that is not known to be damaged."""
        with self._catalog.reading() as records:
            row = _existing(records, id)
        if id in self._damaged:
            raise _damaged(id)
        return row

    def _lost(self, row: Mapping[str, Any], error: HubRefused) -> HubRefused:
        """What to tell of an episode whose bytes are not there: an alarm, unless they are not meant to be."""
        id = row["id"]
        if row["tombstone"]:
            return HubRefused("episode", f"{id} is gone: retention removed it", "see `hub.retention`", status=410)
        if id not in self._damaged:
            log.error("%s", error)
        self._damaged.add(id)
        return error

    def list(self, *, task: str, outcome: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """Newest first, with the outcome that holds after all annotations."""
        if outcome and outcome not in list(Outcome):
            raise HubRefused("outcome", f"is {outcome!r}", f"use one of {', '.join(Outcome)}")
        check_limit(limit)
        with self._catalog.reading() as records:
            return [{**row, "damaged": row["id"] in self._damaged} for row in records.episodes(task, outcome, limit)]

    def _checked(self, id: str, path: Path) -> Episode:
        episode = Episode.open(path)
        validate(episode)
        if episode.meta.id != id:
            raise EpisodeInvalid("id", f"the file says {episode.meta.id}, the request {id}")
        if episode.meta.ending is None:
            raise EpisodeInvalid("ending", "is missing", "seal the recording before it is sent")
        check_tasks(self._tasks, (episode.meta.task,))
        if self._run and episode.meta.purpose != "demonstration" and episode.meta.run != self._run:
            raise EpisodeInvalid("run", f"is {episode.meta.run!r}, but this hub serves the run {self._run!r}")
        return episode

    def _learn_run(self, records: Records) -> None:
        """The run that this hub serves is its first release's, for ever."""
        if not self._run:
            self._run = next((manifest["run"] for manifest in records.releases(limit=1)), "")

    # ------------------------------------------------------------------ annotations

    def annotate(self, annotation: Annotation) -> int:
        """Keep a statement; returns its place in the event order. The same one again is the same entry."""
        if not is_id(annotation.id):
            raise HubRefused("annotation.id", f"{annotation.id!r} is no ULID")
        data = annotation.to_json()
        with self._catalog.writing() as records:
            if _existing(records, annotation.episode)["tombstone"]:
                problem = f"{annotation.episode} has a tombstone: nobody learns from it any more"
                raise HubRefused("annotation.episode", problem, "see `hub.retention`", status=410)
            if known := records.annotation(annotation.id):
                if known[1] != data:
                    raise HubRefused("annotation.id", f"{annotation.id} says something else already", status=409)
                self.news.ring()
                return known[0]
            seq = records.add_annotation(annotation.id, annotation.episode, data)
            records.judge_episode(annotation.episode, **holding(records, annotation.episode))
            self._objects.put(event_object(seq), event_json("annotation", annotation.id, data))
        self.news.ring()
        return seq

    def annotations(self, episode: str) -> Sequence[Annotation]:
        with self._catalog.reading() as records:
            _existing(records, episode)
            return _annotations(records, episode)

    # ------------------------------------------------------------------ events

    def events(self, after: int, limit: int) -> Sequence[Event]:
        """In commit order."""
        check_limit(limit)
        with self._catalog.reading() as records:
            newest = records.newest_event()
            if after > newest:
                raise HubRefused(
                    "after",
                    f"is {after}, but the newest event is {newest}",
                    "this hub has another history: start from 0",
                    status=409,
                )
            return records.events(after, limit)


def check_tasks(known: Sequence[str], tasks: Sequence[str]) -> None:
    """Raise UnknownName for the first task that this fleet does not work at; any will do if it named none."""
    for task in tasks:
        if known and task not in known:
            raise UnknownName("task", f"{task!r} is none of this fleet's", f"known: {', '.join(known)}")


def check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_ROWS:
        raise HubRefused("limit", f"is {limit}", f"use 1 to {MOST_ROWS}")


def quarantine_object(id: str) -> str:
    """Where an episode lies whose bytes are no longer those that were acknowledged."""
    return f"{QUARANTINE}/{id}.arrow"


def _damaged(id: str) -> HubRefused:
    remedy = f"send a copy of it again; what is left of it is {quarantine_object(id)}"
    return HubRefused("episode", f"{id} is damaged: its bytes are not those that were acknowledged", remedy, 410)


def _existing(records: Records, id: str) -> Mapping[str, Any]:
    row = records.episode(id)
    if row is None:
        raise HubRefused("episode", f"{id!r} is not known here", "`fleetloop episodes ls` lists them", status=404)
    return row


def _annotations(records: Records, episode: str) -> list[Annotation]:
    return [Annotation.from_json(dict(data)) for data in records.annotations(episode)]


def holding(records: Records, episode: str) -> Mapping[str, Any]:
    """The columns that annotations change, from everything that was said so far."""
    row, said = _existing(records, episode), _annotations(records, episode)
    ending = Annotation(
        "", episode, row["robot"], Judge(row["recorded_judge"]), 0.0, outcome=Outcome(row["recorded_outcome"])
    )
    verdicts = [ending, *(item for item in said if item.outcome is not None)]
    return {
        "outcome": standing(verdicts, "outcome"),
        "judge": standing(verdicts, "judge"),
        "excluded": bool(standing(said, "exclude")),
        "quality": standing(said, "quality"),
    }
