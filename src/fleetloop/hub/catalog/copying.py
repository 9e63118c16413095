"""A catalog copied row by row, from one kind of database to another."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.catalog.database import Place, available, create_tables, layout_of, open_engine, usable
from fleetloop.hub.catalog.schema import EVENTS, LAYOUT, METADATA, VERSION

ROWS = 1000
"""So many at a time: of a million episodes never all are in memory."""


def copy_catalog(source: Catalog, place: Place) -> None:
    """Have `place` hold what `source` holds at this moment, and nothing that it held before. All of it or nothing.

    Raises:
        HubUnavailable: if `source` fails.
        DiskTrouble: if `place` does, or holds somebody else's tables.
    """
    engine = open_engine(place)
    try:
        with source.reading() as records, usable(place), engine.begin() as target:
            if layout_of(target) == LAYOUT:
                METADATA.drop_all(target)
                VERSION.drop(target)
            create_tables(target)
            for table in METADATA.sorted_tables:
                rows = _read(table, records)
                while batch := list(islice(rows, ROWS)):
                    target.execute(table.insert(), batch)
            if target.dialect.name == "postgresql":  # its counter has not heard of numbers that it has not given itself
                newest = target.scalar(sa.select(sa.func.max(EVENTS.c.seq)))
                counter = sa.func.pg_get_serial_sequence(EVENTS.name, EVENTS.c.seq.name)
                target.execute(sa.select(sa.func.setval(counter, newest or 1, newest is not None)))
    finally:
        engine.dispose()


def _read(table: sa.Table, records: Records) -> Iterator[Mapping[str, Any]]:
    with available():
        yield from records.rows(table)
