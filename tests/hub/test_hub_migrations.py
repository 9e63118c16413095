"""A catalog that an older FleetLoop wrote is brought up to date, whole or not at all; a newer one is refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from hub_world import TASKS, publish, put, sealed

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble
from fleetloop.hub.catalog.catalog import CATALOG, Catalog
from fleetloop.hub.catalog.database import layout_of, open_engine
from fleetloop.hub.catalog.migrations import bring_up_to_date, configured, older_layouts
from fleetloop.hub.catalog.schema import EVENTS, LAYOUT, METADATA
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService

DUMPS = sorted((Path(__file__).parent / "catalogs").glob("*.sql"))


def restored(dump: Path, directory: Path) -> Path:
    """A catalog as the FleetLoop of that time left it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / CATALOG
    with closing(sqlite3.connect(path)) as database:
        database.executescript(dump.read_text())
    return path


def differences(path: Path) -> list[object]:
    """What alembic would change to make it as the code has it."""
    engine = open_engine(path)
    with engine.begin() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
    engine.dispose()
    return found


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def opened(directory: Path) -> HubService:
    return HubService.open(HubOptions(directory=directory), Virtual(2000), RealDisk(), TASKS)


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
def test_a_migrated_catalog_is_like_a_fresh_one(dump: Path, tmp_path: Path) -> None:
    fresh, old = tmp_path / "fresh.sqlite", restored(dump, tmp_path)
    Catalog(fresh).close()
    assert bring_up_to_date(old) == dump.stem.removeprefix("layout_")
    assert differences(old) == differences(fresh) == []
    assert bring_up_to_date(old) is None


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
def test_a_hub_goes_on_with_what_it_knew(dump: Path, tmp_path: Path) -> None:
    path = restored(dump, tmp_path / "hub")
    with closing(sqlite3.connect(path)) as database:  # manifests have a format of their own, which this is not about
        database.executescript("DELETE FROM releases; DELETE FROM channels;")
    (tmp_path / "outbox").mkdir()
    service = opened(tmp_path / "hub")
    demonstration, corrected, failed = service.episodes()
    assert [row["kind"] for row in (demonstration, corrected, failed)] == ["demonstration", "correction", "autonomous"]
    assert failed["outcome"] == "failure"
    assert failed["quality"] == 0.5
    assert [event.kind for event in service.events(0)] == ["episode"] * 3 + ["annotation"]
    assert put(service, sealed(tmp_path / "outbox", id="01J00000000000000000000000")) == 5
    assert publish(service, 2).version == 1
    assert [token.note for token in service.tokens.all()] == ["bench 3"]
    service.close()


def test_there_is_a_way_from_every_layout_and_each_has_a_dump() -> None:
    scripts = ScriptDirectory.from_config(configured())
    assert scripts.get_heads() == [LAYOUT]
    assert [f"layout_{layout}" for layout in sorted(older_layouts())] == [dump.stem for dump in DUMPS]


def test_the_migrations_alone_make_the_same_tables(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / CATALOG)
    with engine.begin() as connection:
        command.upgrade(configured(connection), "head")
    engine.dispose()
    assert differences(tmp_path / CATALOG) == []


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = restored(DUMPS[0], tmp_path)
    before = contents(path)

    def full(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("create", {}, Exception("database or disk is full"))

    monkeypatch.setattr(op, "create_table", full)  # columns were added by then
    with pytest.raises(DiskTrouble, match="disk is full"):
        bring_up_to_date(path)
    assert contents(path) == before
    monkeypatch.undo()
    assert bring_up_to_date(path) == "0001"


def test_a_newer_catalog_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / CATALOG
    Catalog(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = '0099'")
        database.commit()
    before = contents(path)
    for attempt in (lambda: opened(tmp_path), lambda: Catalog(path)):
        with pytest.raises(DiskTrouble, match=f"layout 0099; this version reads {LAYOUT}"):
            attempt()
    assert contents(path) == before


def test_a_fleetloop_from_before_layouts_had_names_refuses_this_one(tmp_path: Path) -> None:
    """It reads 0 and 1 alone."""
    fresh, old = tmp_path / "fresh.sqlite", restored(DUMPS[0], tmp_path)
    Catalog(fresh).close()
    bring_up_to_date(old)
    for path in (fresh, old):
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA user_version").fetchone()[0] not in (0, 1)


def test_others_than_the_hub_do_not_migrate_under_it(tmp_path: Path) -> None:
    path = restored(DUMPS[0], tmp_path)
    with pytest.raises(DiskTrouble, match="start the hub once"):
        Catalog(path)
    engine = open_engine(path)
    with engine.begin() as connection:
        assert layout_of(connection) == "0001"
        assert connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) == 4
    engine.dispose()
