"""What the catalog knows of the room that episodes take: which are beyond a limit, whose objects still wait to go."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fleetloop.hub.catalog.schema import EPISODES, REMOVALS


@dataclass(frozen=True)
class Limits:
    """Beyond these an episode may go: so many newer ones, so many bytes of newer ones and its own, received before."""

    episodes: int | None = None
    bytes: int | None = None
    since_wall_s: float | None = None


class Holdings:
    """A part of the catalog's records; within one transaction, as they are."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def tasks(self) -> Sequence[str]:
        return self._connection.scalars(sa.select(EPISODES.c.task).distinct().order_by(EPISODES.c.task)).all()

    def excess(self, task: str, kinds: Collection[str], limits: Limits, most: int) -> Sequence[Mapping[str, Any]]:
        """The episodes of these kinds that are beyond the limits, oldest first: `id`, `bytes`, `why`."""
        newest_first = EPISODES.c.seq.desc()
        going = (EPISODES.c.task == task) & EPISODES.c.kind.in_(kinds) & EPISODES.c.tombstone.is_(None)
        ranked = (
            sa.select(
                EPISODES,
                sa.func.row_number().over(order_by=newest_first).label("place"),
                sa.func.sum(EPISODES.c.bytes).over(order_by=newest_first).label("filled"),
            )
            .where(going)
            .subquery()
        )
        beyond = {
            "count": None if limits.episodes is None else ranked.c.place > limits.episodes,
            "bytes": None if limits.bytes is None else ranked.c.filled > limits.bytes,
            "age": None if limits.since_wall_s is None else ranked.c.received_wall_s < limits.since_wall_s,
        }
        reasons = {name: test for name, test in beyond.items() if test is not None}
        if not reasons:
            return []
        why = sa.case(*((test, name) for name, test in reasons.items())).label("why")
        query = sa.select(ranked.c.id, ranked.c.bytes, why).where(sa.or_(*reasons.values()))
        return [dict(row) for row in self._connection.execute(query.order_by(ranked.c.seq).limit(most)).mappings()]

    def living(self, ids: Collection[str]) -> set[str]:
        """Those of them that have no tombstone."""
        found = sa.select(EPISODES.c.id).where(EPISODES.c.id.in_(ids), EPISODES.c.tombstone.is_(None))
        return set(self._connection.scalars(found))

    def removals(self, through: int, since_wall_s: float, most: int) -> Sequence[str]:
        """Episodes whose object may go: their tombstone is at or before the event `through`, and older than that."""
        due = (REMOVALS.c.seq <= through) & (REMOVALS.c.wall_s <= since_wall_s)
        query = sa.select(REMOVALS.c.episode).where(due).order_by(REMOVALS.c.seq).limit(most)
        return self._connection.scalars(query).all()

    def removed(self, ids: Collection[str]) -> None:
        """Their objects are gone."""
        self._connection.execute(REMOVALS.delete().where(REMOVALS.c.episode.in_(ids)))

    def to_remove(self) -> tuple[int, int]:
        """How many objects still wait for their removal, and their bytes."""
        joined = sa.select(sa.func.count(), sa.func.sum(EPISODES.c.bytes)).select_from(REMOVALS)
        count, size = self._connection.execute(joined.join(EPISODES, EPISODES.c.id == REMOVALS.c.episode)).one()
        return int(count), int(size or 0)
