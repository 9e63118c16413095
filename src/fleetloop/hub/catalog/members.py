"""What the catalog knows of who belongs to the fleet: robots, who attends to them, and whose token is good."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fleetloop.hub.catalog.schema import ATTENDED, ROBOTS, TOKENS

Row = Mapping[str, Any]


class Members:
    """A part of the catalog's records; within one transaction, as they are."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add_robot(self, name: str, registration: Row) -> None:
        self.remove_robot(name)
        self._connection.execute(ROBOTS.insert().values(name=name, registration=dict(registration)))

    def remove_robot(self, name: str) -> None:
        self._connection.execute(ROBOTS.delete().where(ROBOTS.c.name == name))

    def robots(self) -> Sequence[Row]:
        return self._connection.scalars(sa.select(ROBOTS.c.registration).order_by(ROBOTS.c.name)).all()

    def attended(self) -> Sequence[tuple[str, str, str]]:
        """(robot, pool, attendant) of every attention lease."""
        rows = self._connection.execute(ATTENDED.select().order_by(ATTENDED.c.robot))
        return [(row.robot, row.pool, row.attendant) for row in rows]

    def set_attended(self, rows: Sequence[tuple[str, str, str]]) -> None:
        self._connection.execute(ATTENDED.delete())
        for robot, pool, attendant in rows:
            self._connection.execute(ATTENDED.insert().values(robot=robot, pool=pool, attendant=attendant))

    def add_token(self, id: str, hash: str, data: Row) -> None:
        self._connection.execute(TOKENS.insert().values(id=id, hash=hash, data=dict(data)))

    def change_token(self, id: str, data: Row) -> None:
        self._connection.execute(TOKENS.update().where(TOKENS.c.id == id).values(data=dict(data)))

    def tokens(self) -> Sequence[Row]:
        return self._connection.scalars(sa.select(TOKENS.c.data)).all()

    def tokens_by(self, hashes: Collection[str]) -> Mapping[str, Row]:
        """Those that there are, by the hashes of their secrets."""
        found = self._connection.execute(sa.select(TOKENS.c.hash, TOKENS.c.data).where(TOKENS.c.hash.in_(hashes)))
        return {row.hash: row.data for row in found}
