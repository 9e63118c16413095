"""Where a hub's catalog is: a SQLite file in the hub's directory, or a PostgreSQL database."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa

from fleetloop.core.errors import ConfigInvalid, DiskTrouble
from fleetloop.hub.catalog.catalog import CATALOG
from fleetloop.hub.catalog.database import REQUIRED, SSLMODE, SSLROOTCERT, Place, layout_of, open_engine, said, usable
from fleetloop.hub.options import HubOptions

WRITE = "write postgresql://USER@HOST/DATABASE, and the password into PGPASSWORD"

SOLE = 0x666C6565746C6F6F
"""The advisory lock that a hub holds on its database; the number has no meaning."""


def place_of(options: HubOptions) -> Place:
    """Raises ConfigInvalid for a database that can't be spoken to."""
    if options.catalog is None:
        return options.directory / CATALOG
    if find_spec("pg8000") is None:
        raise ConfigInvalid("hub.catalog", "needs the package pg8000", "pip install 'fleetloop[postgres]'")
    try:
        url = sa.make_url(options.catalog)
    except (ValueError, sa.exc.ArgumentError):  # whose words hold the password
        raise ConfigInvalid("hub.catalog", "is no URL of a database", WRITE) from None
    if not (url.username and url.host and url.database):
        raise ConfigInvalid("hub.catalog", "lacks a user, a host or a database", WRITE)
    if others := {*url.query} - {SSLMODE, SSLROOTCERT}:
        raise ConfigInvalid("hub.catalog", f"has an option {min(others)!r} that is not known here", WRITE)
    if url.query.get(SSLMODE, REQUIRED[0]) not in REQUIRED:
        raise ConfigInvalid("hub.catalog", f"has an {SSLMODE} that is not known here", f"use {' or '.join(REQUIRED)}")
    url = url.set(drivername="postgresql+pg8000")
    return url if url.password else url.set(password=os.environ.get("PGPASSWORD"))


def no_catalog(place: Place) -> DiskTrouble:
    """To be raised where there has to be one."""
    if isinstance(place, Path):
        return DiskTrouble(str(place.parent), "holds no catalog", "name the hub's directory with --directory")
    return DiskTrouble(said(place), "holds no catalog", "start the hub once")


def holds_catalog(place: Place) -> bool:
    """Whether there is one already. Raises DiskTrouble if that can't be told."""
    if isinstance(place, Path):
        return place.exists()
    engine = open_engine(place)
    try:
        with usable(place), engine.begin() as connection:
            return layout_of(connection) is not None
    finally:
        engine.dispose()


@contextmanager
def sole_hub(place: Place, remedy: str) -> Iterator[None]:
    """Be the only hub on a database. A file lies in a directory that has its own lock.

    Raises DiskTrouble on entry if another hub is. A database that starts again forgets who was: then the fence of
    `Catalog.take_over` keeps two from writing.
    """
    if isinstance(place, Path):
        yield
        return
    engine = open_engine(place)
    with usable(place):
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(SOLE))):
            raise DiskTrouble(said(place), "belongs to a running hub", remedy)
        yield
    finally:
        connection.invalidate()  # closed, not given back: with it goes the lock
        engine.dispose()
