"""A copy of the catalog as it is at one moment, while the hub runs. Objects never change: any copying tool will do."""

import sqlite3
from contextlib import closing
from pathlib import Path

from fleetloop.core.disk import Disk, disk_trouble
from fleetloop.core.errors import DiskTrouble
from fleetloop.hub.catalog.catalog import CATALOG, Catalog
from fleetloop.hub.catalog.copying import copy_catalog
from fleetloop.hub.catalog.database import Place, said
from fleetloop.hub.catalog.place import holds_catalog, no_catalog, place_of
from fleetloop.hub.options import HubOptions


def back_up(options: HubOptions, target: Path, disk: Disk) -> Path:
    """Copy the hub's catalog into `target`, in place of an earlier copy; returns the copy's path.

    It is a SQLite file, whatever the hub's own is. It is read back before it takes its name: what is there is whole,
    and on the disk.

    Raises:
        DiskTrouble: if there is no catalog, it or its copy is damaged, or `target` can't be written.
        ConfigInvalid, HubUnavailable: if the database can't be used.
    """
    source, copy = place_of(options), target / CATALOG
    if not holds_catalog(source):
        raise no_catalog(source)
    if target.resolve() == options.directory.resolve():
        raise DiskTrouble(str(target), "is the hub's own directory", "choose another, best on another disk")
    disk.make(target)
    building = target / f".{CATALOG}.building"
    for suffix in ("", "-wal", "-shm"):  # of one that was broken off
        disk.remove(building.with_name(building.name + suffix))
    try:
        if isinstance(source, Path):
            _copy(source, building)
        else:
            _copy_rows(source, building)
        with building.open("rb+") as file:
            disk.sync(file)
        disk.rename(building, copy)
    except sqlite3.Error as error:
        raise DiskTrouble(said(source), f"can't be copied ({error})", "look at both disks") from error
    except OSError as error:
        raise disk_trouble(building, error) from error
    finally:
        disk.remove(building)
    return copy


def _copy_rows(source: Place, target: Path) -> None:
    with closing(Catalog(source)) as running:
        copy_catalog(running, target)
    with closing(sqlite3.connect(target)) as copy:
        _check(copy)


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as running, closing(sqlite3.connect(target)) as copy:
        running.backup(copy)
        _check(copy)


def _check(copy: sqlite3.Connection) -> None:
    copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {verdict}")
