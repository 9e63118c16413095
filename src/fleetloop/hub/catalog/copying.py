"""A catalog copied row by row, from one kind of database to another."""

from itertools import islice

import sqlalchemy as sa

from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.catalog.database import Place, create_tables, open_engine, usable
from fleetloop.hub.catalog.schema import EVENTS, METADATA, VERSION

ROWS = 1000
"""So many at a time: of a million episodes never all are in memory."""


def copy_catalog(source: Catalog, place: Place) -> None:
    """Have `place` hold what `source` holds at this moment, and nothing that it held before. All of it or nothing.

    Raises:
        HubUnavailable: if `source` fails.
        DiskTrouble: if `place` does.
    """
    engine = open_engine(place)
    try:
        with source.reading() as records, usable(place), engine.begin() as target:
            METADATA.drop_all(target)
            VERSION.drop(target, checkfirst=True)
            create_tables(target)
            for table in METADATA.sorted_tables:
                _copy(table, records, target)
            if target.dialect.name == "postgresql":  # its counter has not heard of numbers that it has not given itself
                newest = target.scalar(sa.select(sa.func.max(EVENTS.c.seq)))
                counter = sa.func.pg_get_serial_sequence(EVENTS.name, EVENTS.c.seq.name)
                target.execute(sa.select(sa.func.setval(counter, newest or 1, newest is not None)))
    finally:
        engine.dispose()


def _copy(table: sa.Table, records: Records, target: sa.Connection) -> None:
    rows = records.rows(table)
    while batch := list(islice(rows, ROWS)):
        target.execute(table.insert(), batch)
