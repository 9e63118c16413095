"""The catalog that was there before it was made anew, damaged anywhere: its tokens, and what it says otherwise."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import merge
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from fleetloop.core.errors import FleetLoopError
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.catalog.database import Place
from fleetloop.hub.catalog.migrations import bring_up_to_date
from fleetloop.hub.catalog.place import holds_catalog
from fleetloop.hub.catalog.schema import HISTORY, TOKENS

Row = Mapping[str, Any]
UNREADABLE = (FleetLoopError, ValueError, sa.exc.DBAPIError)


@contextmanager
def catalog_before(place: Place) -> Iterator[Catalog | None]:
    """None if there is none, or what is there is none."""
    if not holds_catalog(place):
        yield None
        return
    try:
        bring_up_to_date(place)
        catalog = Catalog(place)
    except UNREADABLE:  # that is why it is made anew
        yield None
        return
    try:
        yield catalog
    finally:
        catalog.close()


def tokens_of(catalog: Catalog | None) -> Sequence[Row]:
    """All or none."""
    try:
        if catalog is not None:
            with catalog.reading() as records:
                return list(records.rows(TOKENS))
    except UNREADABLE:
        pass
    return ()


def differences(before: Catalog | None, after: Catalog) -> tuple[str, ...] | None:
    """What `before` has and `after` has not, or the other way round, a line each; None if it can't be read."""
    if before is None:
        return None
    try:
        with before.reading() as was, after.reading() as now:
            return tuple(line for table in HISTORY for line in _unlike(table, was, now))
    except UNREADABLE:
        return None


def _unlike(table: sa.Table, was: Records, now: Records) -> Iterator[str]:
    """Both are gone through side by side, by their keys: never more than a few rows are held."""
    (key,) = (column.name for column in table.primary_key)
    had, has = ((row, "had") for row in was.rows(table)), ((row, "has") for row in now.rows(table))
    for _, found in groupby(merge(had, has, key=lambda one: one[0][key]), lambda one: one[0][key]):
        rows = list(found)
        if len({json.dumps(row, sort_keys=True) for row, _ in rows}) == len(rows):
            yield from (f"{table.name}: {word} {_brief(row)}" for row, word in rows)


def _brief(row: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if not isinstance(value, dict))
