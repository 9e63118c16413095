"""The catalog's database: connections to it, its tables when it is new, and which layout it has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa

from fleetloop.core.errors import DiskTrouble, HubUnavailable
from fleetloop.hub.catalog.schema import LAYOUT, METADATA, VERSION

Place: TypeAlias = Path | sa.URL
"""The file of a SQLite database, or the URL of another kind."""

FAULTS_OF_OURS = (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.NotSupportedError)
CLASSES_OF_OURS = ("0A", "22", "23", "42")
"""The same as PostgreSQL's SQLSTATE, of which pg8000 makes a ProgrammingError whatever it is."""

STATE = "C"
"""Under which pg8000 tells it."""


def said(place: Place) -> str:
    """How it is told, without its password."""
    return str(place) if isinstance(place, Path) else place.render_as_string(hide_password=True)


def open_engine(place: Place) -> sa.Engine:
    """Connections as the catalog needs them."""
    url = sa.URL.create("sqlite", database=str(place)) if isinstance(place, Path) else place
    # A server may have started again since a connection was used last.
    engine = sa.create_engine(url, pool_size=8, max_overflow=64, pool_pre_ping=not isinstance(place, Path))
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


def other_layout(place: Place, found: str, remedy: str) -> DiskTrouble:
    return DiskTrouble(said(place), f"has the layout {found}; this version reads {LAYOUT}", remedy)


@contextmanager
def usable(place: Place) -> Iterator[None]:
    """What a database can't do when it is opened, as DiskTrouble."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        remedy = "choose another directory" if isinstance(place, Path) else "does it run, and does hub.catalog name it?"
        raise DiskTrouble(said(place), f"is no usable catalog ({error.orig})", remedy) from error


@contextmanager
def available() -> Iterator[None]:
    """What a database can't do later, damaged or not, as HubUnavailable."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if _is_ours(error):
            raise
        problem, remedy = f"can't serve now ({error.orig})", "look at the hub's disk, or its database"
        raise HubUnavailable("hub catalog", problem, remedy) from error


def _is_ours(error: sa.exc.DBAPIError) -> bool:
    """Whether trying again would be in vain."""
    told = error.orig.args[0] if error.orig and error.orig.args else None
    if isinstance(told, dict):
        return str(told.get(STATE, "")).startswith(CLASSES_OF_OURS)
    return isinstance(error, FAULTS_OF_OURS)


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
