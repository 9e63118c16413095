"""What the catalog knows of releases in the field: where they are steered, and how robots did under them."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fleetloop.core.steering import Steering, Tally
from fleetloop.hub.catalog.schema import EPISODES, EVENTS, STEERING

NAME = "steering"


class Standings:
    """A part of the catalog's records; within one transaction, as they are."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def steering(self) -> Steering:
        """As it was kept last."""
        return Steering.from_json(self._connection.scalar(sa.select(STEERING.c.data)) or {})

    def steer(self, data: Mapping[str, Any]) -> None:
        """Keep a steering, as JSON."""
        self._connection.execute(STEERING.delete())
        self._connection.execute(STEERING.insert().values(name=NAME, data=dict(data)))

    def tallies(self, after: int, purpose: str) -> Sequence[Tally]:
        """By release, of this purpose's episodes with seq > after that were driven under one release to an end."""
        data = EVENTS.c.data
        release, oldest, interventions = (
            sa.cast(data[name].as_string(), sa.BigInteger) for name in ("release_max", "release_min", "interventions")
        )
        interrupted = sa.cast(interventions > 0, sa.Integer)
        success = sa.cast(EPISODES.c.outcome == "success", sa.Integer)
        sums = map(sa.func.sum, (success, success * (1 - interrupted), interrupted))
        counted = sa.and_(
            EVENTS.c.seq > after,
            release > 0,
            oldest == release,
            data["purpose"].as_string() == purpose,
            EPISODES.c.outcome != "aborted",
            sa.not_(EPISODES.c.excluded),
        )
        # By name: written out a second time, a database can't tell that it is the same.
        joined = sa.select(release.label("release"), sa.func.count(), *sums)
        joined = joined.join(EPISODES, EPISODES.c.seq == EVENTS.c.seq).where(counted)
        rows = self._connection.execute(joined.group_by("release").order_by("release"))
        return [Tally(*map(int, row)) for row in rows]
