"""Checked episodes into the store and the catalog, durably; those that come at once share what it costs.

One forcing of the new names onto the disk and one transaction serve all of a group: nobody is told anything before.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetloop.core.clock import Clock
from fleetloop.core.episode import Episode
from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import EDGE, Acknowledgement
from fleetloop.hub.bell import Bell
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.catalog.rows import catalog_row
from fleetloop.hub.storage.objects import Arrived, ObjectStore
from fleetloop.hub.together import Together

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Named:
    """An episode whose object has its name; or not, where other bytes had it: `kept`."""

    episode: Episode
    arrived: Arrived
    kept: bool


class Admission:
    """Where episodes become known. Safe to call from several threads; from one at a time for each id."""

    def __init__(self, catalog: Catalog, objects: ObjectStore, clock: Clock, news: Bell) -> None:
        """`news` is rung after every commit."""
        self._catalog, self._objects, self._clock, self._news = catalog, objects, clock, news
        self._together = Together(self._commit)

    def admit(self, episode: Episode, arrived: Arrived) -> Acknowledgement:
        """Keep an episode that was checked.

        Raises:
            HubRefused: 409 if the id is known with other bytes.
        """
        kept = self._objects.keep(arrived, episode_object(episode.meta.id))
        return self._together.do(_Named(episode, arrived, kept))

    def _commit(self, group: Sequence[_Named]) -> Sequence[Acknowledgement | Exception]:
        self._objects.settle(episode_object(group[0].episode.meta.id))
        try:
            with self._catalog.writing() as records:
                edge = records.channel(EDGE)
                return [self._record(records, one, edge) for one in group]
        finally:  # a commit whose answer was lost is one all the same
            self._news.ring()

    def _record(self, records: Records, one: _Named, edge: int) -> Acknowledgement | Exception:
        id, hash = one.episode.meta.id, one.arrived.hash
        try:
            if acknowledged := known(records, id, hash):  # by another hub meanwhile
                return acknowledged
        except HubRefused as error:
            return error
        if not one.kept:
            log.warning("%s lay there with other bytes, which nobody was told of; they are replaced", id)
            self._objects.replace(one.arrived, episode_object(id))
            self._objects.settle(episode_object(id))
        row = catalog_row(
            one.episode,
            hash=hash,
            size=one.arrived.size,
            received_clock_s=self._clock.now(),
            received_wall_s=self._clock.wall(),
            edge=edge,
        )
        seq = records.add_episode(row)
        # After a power cut the episode itself can tell all of it but its place.
        self._objects.note(event_object(seq), event_json("episode", id, row))
        return Acknowledgement(id, seq, known=False)


def known(records: Records, id: str, hash: str) -> Acknowledgement | None:
    """What was acknowledged already. Raises HubRefused (409) if the id is known with other bytes."""
    found = records.place(id)
    if found is None:
        return None
    seq, kept = found
    if kept != hash:
        raise HubRefused("id", f"{id} is known with the hash {kept}, not {hash}", status=409)
    return Acknowledgement(id, seq, known=True)


def episode_object(id: str) -> str:
    return f"episodes/{id}.arrow"


def event_object(seq: int) -> str:
    """Events are objects too, written before the commit: what the catalog says can be worked out again without it."""
    return f"events/{seq:012d}.json"


def event_json(kind: str, ref: str, data: Mapping[str, Any]) -> bytes:
    return json.dumps({"kind": kind, "ref": ref, "data": data}).encode()
