"""The catalog's database: connections to it, its tables when it is new, and which layout it has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fleetloop.core.errors import DiskTrouble, HubUnavailable
from fleetloop.hub.catalog.schema import LAYOUT, METADATA, VERSION

FAULTS_OF_OURS = (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.NotSupportedError)


def open_engine(place: Path | sa.URL) -> sa.Engine:
    """Connections as the catalog needs them."""
    url = sa.URL.create("sqlite", database=str(place)) if isinstance(place, Path) else place
    engine = sa.create_engine(url, pool_size=8, max_overflow=64)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _configure)
        sa.event.listen(engine, "begin", _begin)
    return engine


def layout_of(connection: sa.Connection) -> str | None:
    """The layout of the tables that are there; None if there are none."""
    if sa.inspect(connection).has_table(VERSION.name):
        return str(connection.scalar(sa.select(VERSION.c.version_num)))
    if connection.dialect.name != "sqlite":
        return None
    number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()  # before layouts had names
    return f"{number:04d}" if number else None


def other_layout(place: Path | sa.URL, found: str, remedy: str) -> DiskTrouble:
    return DiskTrouble(str(place), f"has the layout {found}; this version reads {LAYOUT}", remedy)


@contextmanager
def usable(place: Path | sa.URL) -> Iterator[None]:
    """What a database can't do when it is opened, as DiskTrouble."""
    try:
        yield
    except sa.exc.DatabaseError as error:
        raise DiskTrouble(str(place), f"is no usable catalog ({error.orig})", "choose another directory") from error


@contextmanager
def available() -> Iterator[None]:
    """What a database can't do later, damaged or not, as HubUnavailable."""
    try:
        yield
    except sa.exc.DatabaseError as error:
        if isinstance(error, FAULTS_OF_OURS):
            raise
        raise HubUnavailable("hub catalog", f"can't serve now ({error.orig})", "look at the hub's disk") from error


def create_tables(connection: sa.Connection) -> None:
    METADATA.create_all(connection)
    VERSION.create(connection)
    connection.execute(VERSION.insert().values(version_num=LAYOUT))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {int(LAYOUT)}")  # an older FleetLoop refuses it by this


def _configure(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin`, not by the driver's guess
    for setting in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
