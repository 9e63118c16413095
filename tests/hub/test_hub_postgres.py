"""A catalog in PostgreSQL: moved there, lost, copied, unreachable for a while, and wanted by two hubs."""

import re
import socket
import sqlite3
import struct
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import httpx
import pytest
import sqlalchemy as sa
from hub_world import TASKS, HubProcess, behind_http, launch, publish, put, registration, sealed
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import ConfigInvalid, DiskTrouble, FleetLoopError, HubRefused, HubUnavailable
from fleetloop.core.hub import LearnerStatus
from fleetloop.hub.backup import back_up
from fleetloop.hub.catalog import place
from fleetloop.hub.catalog.catalog import CATALOG, Catalog
from fleetloop.hub.catalog.database import open_engine
from fleetloop.hub.catalog.place import place_of, sole_hub
from fleetloop.hub.catalog.schema import HISTORY, VERSION
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.rebuild import rebuild
from fleetloop.hub.service import HubService
from fleetloop.hub.tokens import Scope, Tokens
from postgres import Postgres

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("store", ["postgres"], indirect=True)]
DISK = RealDisk()


def opened(options: HubOptions) -> HubService:
    return HubService.open(options, Virtual(1000), DISK, TASKS)


def live_a_little(options: HubOptions, outbox: Path) -> str:
    """Returns the secret of a learner's token."""
    with closing(opened(options)) as hub:
        for number in range(3):
            put(hub, sealed(outbox, start_s=float(number)))
        publish(hub)
        hub.register(registration("robot-1"))
        hub.pin("robot-1", 1)
        return hub.tokens.issue(Scope.LEARNER)[1]


def contents(at: Path | HubOptions) -> dict[str, list[object]]:
    with closing(Catalog(at if isinstance(at, Path) else place_of(at))) as catalog, catalog.reading() as records:
        return {table.name: list(records.rows(table)) for table in HISTORY}


def goes_on(options: HubOptions, outbox: Path, secret: str) -> None:
    """Numbers go on where they were, and who had a token has it."""
    with closing(opened(options)) as hub:
        newest = max(event.seq for event in hub.events(0))
        assert put(hub, sealed(outbox)) == newest + 1
        assert publish(hub, 2).version == 2
        assert hub.tokens.holder(secret).scope is Scope.LEARNER


def test_a_hub_moves_there_from_its_file_with_all_it_has(options: HubOptions, outbox: Path) -> None:
    in_a_file = options.model_copy(update={"catalog": None})
    secret = live_a_little(in_a_file, outbox)
    before = contents(in_a_file)
    with pytest.raises(DiskTrouble, match="an earlier hub's objects and no catalog; run `fleetloop hub rebuild`"):
        opened(options)
    found = rebuild(options, Virtual(1000), DISK)
    assert (found.different, found.damaged) == ((), ())
    assert contents(options) == before
    assert found.kept is not None
    assert contents(found.kept) == before
    assert not (options.directory / CATALOG).exists()
    goes_on(options, outbox, secret)


def test_what_was_there_is_kept_beside_one_that_is_made_anew(options: HubOptions, outbox: Path) -> None:
    secret = live_a_little(options, outbox)
    before = contents(options)
    found = rebuild(options, Virtual(1000), DISK)
    assert (found.different, found.damaged) == ((), ())
    assert found.kept is not None
    assert contents(options) == contents(found.kept) == before
    assert not [*options.directory.glob("*.building*")]
    goes_on(options, outbox, secret)


def test_a_copy_of_it_is_a_file_that_a_hub_can_serve(options: HubOptions, outbox: Path, tmp_path: Path) -> None:
    secret = live_a_little(options, outbox)
    with closing(opened(options)):
        assert back_up(options, tmp_path / "copy", DISK) == tmp_path / "copy" / CATALOG
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [CATALOG]
    with closing(sqlite3.connect(tmp_path / "copy" / CATALOG)) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert contents(tmp_path / "copy" / CATALOG) == contents(options)
    for part in ("events", "episodes", "releases", "blobs", "channels"):
        if (options.directory / part).exists():
            (options.directory / part).rename(tmp_path / "copy" / part)
    goes_on(HubOptions(directory=tmp_path / "copy"), outbox, secret)


def test_only_one_hub_serves_it_whatever_their_directories(options: HubOptions, tmp_path: Path) -> None:
    elsewhere = options.model_copy(update={"directory": tmp_path / "elsewhere"})
    first = HubProcess.start(options.directory, catalog=options.catalog)
    second = launch(elsewhere.directory, catalog=options.catalog)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "belongs to a running hub" in said
    with pytest.raises(DiskTrouble, match="belongs to a running hub"):
        rebuild(elsewhere, Virtual(1000), DISK)
    first.kill()
    with sole_hub(place_of(options), ""):
        pass


@pytest.mark.parametrize("between", ["nothing", "rebuilt"])
def test_a_hub_that_another_has_followed_writes_nothing_any_more(
    options: HubOptions, outbox: Path, between: str
) -> None:
    first = opened(options)
    put(first, sealed(outbox))
    if between == "rebuilt":  # as if the database had forgotten the first one's lock
        rebuild(options, Virtual(1000), DISK)
    second = opened(options)
    with pytest.raises(HubUnavailable, match="belongs to another hub now"):
        put(first, sealed(outbox))
    assert put(second, sealed(outbox)) > 1
    assert len(second.episodes()) == 2
    first.close()
    second.close()


def test_while_the_database_is_away_everybody_is_told_to_come_again(
    options: HubOptions, outbox: Path, postgres: Postgres
) -> None:
    with behind_http(options, Virtual(1000)) as world:
        put(world.hub, sealed(outbox))
        waiting = sealed(outbox)
        postgres.stop()
        try:
            for hub in (world.hub, world.service, world.service):
                with pytest.raises(HubUnavailable, match="hub catalog"):
                    hub.episodes()
                with pytest.raises(HubUnavailable, match="hub catalog"):
                    put(hub, waiting)
            away = httpx.get(f"{world.hub.url}/v1/episodes", trust_env=False)  # type: ignore[union-attr]
            assert (away.status_code, away.headers["Retry-After"]) == (503, "2")
            with pytest.raises(DiskTrouble, match=r"is no usable catalog .*does it run"):
                opened(options)
        finally:
            postgres.start()
        put(world.hub, waiting)
        postgres.stop()
        postgres.start()  # so soon that nobody asked for anything meanwhile
        assert len(world.service.episodes()) == 2


def test_who_hangs_up_at_once_is_no_database(options: HubOptions) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                    near.close()

        thread = Thread(target=hang_up)
        thread.start()
        with pytest.raises(DiskTrouble, match="is no usable catalog"):
            opened(options.model_copy(update={"catalog": f"postgresql://fleetloop@127.0.0.1:{port}/fleet"}))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_who_says_nothing_is_not_waited_for_for_ever(options: HubOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetloop.hub.catalog.database.SILENT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the system takes the call, and nobody answers
        silent = f"postgresql://fleetloop@127.0.0.1:{listener.getsockname()[1]}/fleet"
        with pytest.raises(DiskTrouble, match="is no usable catalog"):
            opened(options.model_copy(update={"catalog": silent}))


def test_what_can_not_be_kept_is_not_replaced(options: HubOptions, outbox: Path) -> None:
    live_a_little(options, outbox)
    engine = open_engine(place_of(options))
    with engine.begin() as connection:
        connection.execute(VERSION.update().values(version_num="0099"))
    with pytest.raises(DiskTrouble, match=r"can't be read, and so not be kept; name another, empty one"):
        rebuild(options, Virtual(1000), DISK)
    with engine.begin() as connection:
        assert connection.scalar(sa.select(VERSION.c.version_num)) == "0099"
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
        connection.exec_driver_sql("CREATE TABLE tokens (whose integer)")
    for start in (lambda: opened(options), lambda: rebuild(options, Virtual(1000), DISK)):
        with pytest.raises(DiskTrouble, match=r"already exists|no catalog"):
            start()
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(whose) FROM tokens").scalar_one() == 0
    engine.dispose()


def test_a_move_that_breaks_off_can_be_made_again(
    options: HubOptions, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_file = options.model_copy(update={"catalog": None})
    secret = live_a_little(in_a_file, outbox)

    def broken(source: Catalog, place: object) -> None:
        raise DiskTrouble("somewhere", "broke off")

    with monkeypatch.context() as patch:
        patch.setattr("fleetloop.hub.rebuild.copy_catalog", broken)
        with pytest.raises(DiskTrouble, match="broke off"):
            rebuild(options, Virtual(1000), DISK)
    assert rebuild(options, Virtual(1000), DISK).kept is not None
    goes_on(options, outbox, secret)


def test_large_numbers_stop_nothing(options: HubOptions, outbox: Path) -> None:
    with behind_http(options, Virtual(1000)) as world:
        put(world.hub, sealed(outbox, release=2**40))
        publish(world.hub)
        assert [tally.release for tally in world.hub.tallies()] == [2**40]
        world.hub.report_learner(LearnerStatus("run-1", 1, 1, 1, False, 0.0, checkpoint=2**40))
        world.service.keep_house(1e6)
        with pytest.raises(HubRefused) as refusal:
            world.hub.release(2**40)
        assert refusal.value.status == 404


def test_tokens_are_issued_into_it(options: HubOptions) -> None:
    sets = ("--set", f"hub.catalog={options.catalog}", "--directory", str(options.directory))
    run = CliRunner()
    assert "holds no catalog" in run.invoke(app, ["tokens", "ls", *sets]).stderr
    said = run.invoke(app, ["tokens", "issue", "operator", *sets])
    assert said.exit_code == 0, said.stderr
    assert not (options.directory / CATALOG).exists()
    with closing(Catalog(place_of(options))) as catalog:
        assert Tokens(catalog, Virtual()).holder(said.stdout.strip()).scope is Scope.OPERATOR


def test_names_that_it_can_not_keep_are_refused(options: HubOptions, outbox: Path) -> None:
    with behind_http(options, Virtual(1000)) as world:
        assert isinstance(world.hub, HttpHub)
        for path in ("episodes/a%00b", "episodes?task=a%00b", "episodes/%00/annotations"):
            assert httpx.get(f"{world.hub.url}/v1/{path}", trust_env=False).status_code == 400
        for call in (
            lambda: world.hub.register(registration("robot\0")),
            lambda: world.hub.claim_lease("learner\0"),
            lambda: put(world.hub, sealed(outbox, operator="ann\0")),
        ):
            with pytest.raises(FleetLoopError, match="NUL"):
                call()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://nobody:secret@127.0.0.1:1/fleet", "nobody:.*is no usable catalog"),
        ("postgresql://nobody:secret@127.0.0.1:port/fleet", "is no URL"),
        ("postgresql://nobody:secret@127.0.0.1", "lacks a user, a host or a database"),
        ("postgresql://127.0.0.1/secret", "lacks a user"),
        ("postgresql://nobody:secret@127.0.0.1/fleet?password=secret", "option 'password'"),
        ("postgresql://nobody:secret@127.0.0.1/fleet?sslmode=prefer", "use require or verify-full"),
        ("postgresql://nobody:secret@127.0.0.1/fleet?sslmode=verify-full&sslrootcert=nowhere", "sslrootcert"),
        ("mysql://nobody:secret@127.0.0.1/fleet", "is no database"),
    ],
)
def test_a_database_that_can_not_be_is_told_without_its_password(options: HubOptions, url: str, told: str) -> None:
    said = CliRunner().invoke(app, ["hub", "backup", "copy", "--set", f"hub.catalog={url}"])
    assert said.exit_code == 1
    assert re.search(told, said.stderr), said.stderr
    assert "secret" not in said.stderr


def test_a_server_without_tls_gets_nothing_where_that_is_required(options: HubOptions) -> None:
    with pytest.raises(DiskTrouble, match="is no usable catalog"):
        opened(options.model_copy(update={"catalog": f"{options.catalog}?sslmode=require"}))


def test_without_its_driver_it_says_what_to_install(options: HubOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "find_spec", lambda name: None)
    with pytest.raises(ConfigInvalid, match=r"hub.catalog: needs the package pg8000; .*fleetloop\[postgres\]"):
        opened(options)


def test_the_password_is_the_environments(options: HubOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "kept out of the file")
    url = place_of(options)
    assert not isinstance(url, Path)
    assert url.password == "kept out of the file"
