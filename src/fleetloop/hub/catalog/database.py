"""The catalog's database: connections to it, its tables when it is new, and which layout it has."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa

from fleetloop.core.errors import ConfigInvalid, DiskTrouble, HubUnavailable
from fleetloop.hub.catalog.schema import LAYOUT, METADATA, VERSION

Place: TypeAlias = Path | sa.URL
"""The file of a SQLite database, or the URL of another kind."""

FAULTS_OF_OURS = (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.NotSupportedError)
CLASSES_OF_OURS = ("0A", "22", "23", "42")
"""The same as PostgreSQL's SQLSTATE, of which pg8000 makes a ProgrammingError whatever it is."""

SSLMODE, SSLROOTCERT = "sslmode", "sslrootcert"
REQUIRED = ("require", VERIFIED := "verify-full")
"""As PostgreSQL's own clients have it. Without, pg8000 uses TLS where the server has it."""

STATE, MESSAGE = "C", "M"
"""Under which pg8000 tells it, and what is wrong in words."""

FAILURES = (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError)
"""pg8000 lets a network's errors out as they are."""

SILENT_S = 10.0
"""Real seconds after which a server that says nothing is away."""


def said(place: Place) -> str:
    """How it is told, without its password."""
    return str(place) if isinstance(place, Path) else place.render_as_string(hide_password=True)


def open_engine(place: Place) -> sa.Engine:
    """Connections as the catalog needs them."""
    if not isinstance(place, Path):
        url = place.difference_update_query([SSLMODE, SSLROOTCERT])
        return sa.create_engine(url, pool_size=8, max_overflow=64, pool_pre_ping=True, connect_args=_arguments(place))
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(place)), pool_size=8, max_overflow=64)
    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _arguments(place: sa.URL) -> dict[str, Any]:
    """TLS as it is asked for; and nobody waits for ever: a server may fall silent, or lose a hub without a word.

    Raises ConfigInvalid for a certificate that can't be read.
    """
    ends = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3, "lock_timeout": "8s"}
    given = {"timeout": SILENT_S, "startup_params": {name: str(value) for name, value in ends.items()}}
    if (mode := place.query.get(SSLMODE)) is None:
        return given
    try:
        context = ssl.create_default_context(cafile=str(place.query.get(SSLROOTCERT, "")) or None)
    except OSError as error:
        raise ConfigInvalid("hub.catalog", f"has an {SSLROOTCERT} that can't be used ({error})") from error
    if mode != VERIFIED:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return {**given, "ssl_context": context}


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
    except FAILURES as error:
        remedy = "choose another directory" if isinstance(place, Path) else "does it run, and does hub.catalog name it?"
        raise DiskTrouble(said(place), f"is no usable catalog ({told(error)})", remedy) from error


@contextmanager
def available() -> Iterator[None]:
    """What a database can't do later, damaged or not, as HubUnavailable."""
    try:
        yield
    except FAILURES as error:
        if isinstance(error, sa.exc.DBAPIError) and _is_ours(error):
            raise
        problem, remedy = f"can't serve now ({told(error)})", "look at the hub's disk, or its database"
        raise HubUnavailable("hub catalog", problem, remedy) from error


def told(error: Exception) -> str:
    """In the database's words."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    said = cause.args[0] if cause and cause.args else cause
    return str(said.get(MESSAGE, said) if isinstance(said, dict) else cause)


def _is_ours(error: sa.exc.DBAPIError) -> bool:
    """Whether trying again would be in vain."""
    told = error.orig.args[0] if error.orig and error.orig.args else None
    if isinstance(told, dict):
        return str(told.get(STATE, "")).startswith(CLASSES_OF_OURS)
    return isinstance(error, FAULTS_OF_OURS)


def create_tables(connection: sa.Connection) -> None:
    METADATA.create_all(connection, checkfirst=False)  # tables of somebody else are not to be taken for these
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
