"""A catalog in PostgreSQL: moved there, lost, copied, unreachable for a while, and wanted by two hubs."""

from contextlib import closing
from pathlib import Path

import httpx
import pytest
from hub_world import TASKS, HubProcess, behind_http, launch, publish, put, registration, sealed
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import ConfigInvalid, DiskTrouble, FleetLoopError, HubUnavailable
from fleetloop.hub.backup import back_up
from fleetloop.hub.catalog import place
from fleetloop.hub.catalog.catalog import CATALOG, Catalog
from fleetloop.hub.catalog.place import place_of, sole_hub
from fleetloop.hub.catalog.schema import HISTORY
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


def test_a_hub_that_another_has_followed_writes_nothing_any_more(options: HubOptions, outbox: Path) -> None:
    first = opened(options)
    put(first, sealed(outbox))
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
            for _ in range(3):
                with pytest.raises(HubUnavailable):
                    world.hub.episodes()
                with pytest.raises(HubUnavailable):
                    put(world.hub, waiting)
            away = httpx.get(f"{world.hub.url}/v1/episodes", trust_env=False)  # type: ignore[union-attr]
            assert (away.status_code, away.headers["Retry-After"]) == (503, "2")
            with pytest.raises(DiskTrouble, match=r"is no usable catalog .*does it run"):
                opened(options)
        finally:
            postgres.start()
        put(world.hub, waiting)
        assert len(world.hub.episodes()) == 2


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
        for call in (
            lambda: world.hub.register(registration("robot\0")),
            lambda: world.hub.claim_lease("learner\0"),
            lambda: put(world.hub, sealed(outbox, operator="ann\0")),
        ):
            with pytest.raises(FleetLoopError, match="NUL"):
                call()


def test_a_database_that_can_not_be_is_named_without_its_password(
    options: HubOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = options.model_copy(update={"catalog": "postgresql://nobody:secret@127.0.0.1:1/fleet"})
    with pytest.raises(DiskTrouble) as refusal:
        opened(wrong)
    assert "nobody" in str(refusal.value)
    assert "secret" not in str(refusal.value)
    monkeypatch.setattr(place, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigInvalid, match=r"hub.catalog: needs the package pg8000; pip install 'fleetloop\[postgres\]'"
    ):
        opened(options)
    with pytest.raises(ValueError, match="catalog"):
        HubOptions(catalog="mysql://somewhere/else")


def test_the_password_is_the_environments(options: HubOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "kept out of the file")
    url = place_of(options)
    assert not isinstance(url, Path)
    assert url.password == "kept out of the file"
