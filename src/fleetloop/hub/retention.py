"""What the hub does not keep for ever: tombstones for what is beyond a task's caps, and later the bytes themselves.

A tombstone is an event: the learner meets it at its cursor and lets the episode go between two steps. The catalog keeps
the episode's row and its event, so that the same id again is known and stored no second time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock
from fleetloop.core.errors import HubUnavailable
from fleetloop.hub.admission import episode_object, event_json, event_object
from fleetloop.hub.bell import Bell
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.catalog.holdings import Limits
from fleetloop.hub.options import Caps, RetentionOptions
from fleetloop.hub.storage.objects import ObjectStore

LOOKED_FOR = 10_000  # episodes of each task in one look, which goes through all that the task has
BURIED_AT_ONCE = 8  # tombstones in one transaction, which uploads wait for: each is an object too
REMOVED_AT_ONCE = 64
PART = "retention"


@dataclass(frozen=True)
class Excess:
    """An episode that is to go, and the cap that it is beyond: `count`, `bytes` or `age`."""

    id: str
    task: str
    bytes: int
    why: str


class Retention:
    """Advanced by `step`; keeps within the caps what may go.

    Args:
        news: rung when there are new tombstones.
        learner_checkpoint: the event up to which the learner needs no episode any more.

    Attributes:
        alarms: what keeps it from its work.
    """

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore,
        clock: Clock,
        options: RetentionOptions,
        *,
        news: Bell,
        learner_checkpoint: Callable[[], int],
    ) -> None:
        self.alarms = Alarms()
        self._catalog, self._objects, self._clock, self._options = catalog, objects, clock, options
        self._news, self._learner_checkpoint = news, learner_checkpoint
        self._due = clock.now()
        self._going: list[Excess] = []

    def step(self, now: float) -> float:
        """Do what is due at `now` (clock seconds), at most one transaction of each kind; returns when to call again."""
        if now < self._due:
            return self._due
        self._due = now + self._options.every_s
        try:
            worked = self.bury() + self.remove()
        except HubUnavailable as error:
            self.alarms.set(PART, str(error))
            return self._due
        self.alarms.clear(PART)
        if worked:
            self._due = now  # there may be more
        return self._due

    def bury(self) -> int:
        """Give the oldest episodes that are beyond a cap a tombstone, a few at a time; returns how many.

        Raises HubUnavailable.
        """
        if not self._going:
            with self._catalog.reading() as records:
                self._going += excess(records, self._options, self._clock.wall(), LOOKED_FOR)
        # What is beyond a cap stays beyond it, whatever arrives meanwhile.
        if found := self._going[:BURIED_AT_ONCE]:
            with self._catalog.writing() as records:
                living = records.holdings.living([item.id for item in found])
                for item in found:
                    if item.id in living:
                        self._bury(records, item)
            self._news.ring()
        del self._going[:BURIED_AT_ONCE]
        return len(found)

    def _bury(self, records: Records, item: Excess) -> None:
        data = {"episode": item.id, "task": item.task, "why": item.why, "wall_s": self._clock.wall()}
        seq = records.add_tombstone(item.id, data)
        self._objects.put(event_object(seq), event_json("tombstone", item.id, data))

    def remove(self) -> int:
        """Remove the bytes of episodes that nobody can ask for any more; returns how many. Raises HubUnavailable."""
        since_wall_s = self._clock.wall() - self._options.grace_wall_s
        with self._catalog.reading() as records:
            due = records.holdings.removals(self._learner_checkpoint(), since_wall_s, REMOVED_AT_ONCE)
        for id in due:
            self._objects.remove(episode_object(id))
        if due:
            with self._catalog.writing() as records:
                records.holdings.removed(due)
        return len(due)


def excess(records: Records, options: RetentionOptions, wall_s: float, most: int) -> Sequence[Excess]:
    """What is beyond the caps at this Unix time, task by task, oldest arrival first; at most so many of each task."""
    found = []
    for task in records.holdings.tasks():
        rows = records.holdings.excess(task, options.kinds, _limits(options.caps(task), wall_s), most)
        found += [Excess(row["id"], task, row["bytes"], row["why"]) for row in rows]
    return found


def _limits(caps: Caps, wall_s: float) -> Limits:
    return Limits(
        episodes=caps.max_episodes,
        bytes=None if caps.max_gb is None else int(caps.max_gb * 1e9),
        since_wall_s=None if caps.max_age_days is None else wall_s - caps.max_age_days * 86_400,
    )
