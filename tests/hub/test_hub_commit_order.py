"""The order of the cursor is the order of commits, so that a reader who follows it misses nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from hub_world import put, sealed

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubUnavailable
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.catalog.place import place_of
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService

PATIENCE_S = 0.3  # for a writer that does not wait for its turn to show itself


@pytest.fixture
def hubs(options: HubOptions) -> Iterator[list[Catalog]]:
    """Three hubs on one catalog: what holds must not come from a lock within one process."""
    options.directory.mkdir()
    catalogs = [Catalog(place_of(options)) for _ in range(3)]
    yield catalogs
    for catalog in catalogs:
        catalog.close()


def follow(catalog: Catalog, seen: list[str], after: int) -> int:
    with catalog.reading() as records:
        for event in records.events(after, limit=100):
            assert event.seq > after
            after = event.seq
            seen.append(event.ref)
    return after


BOTH = pytest.mark.parametrize(
    "store", ["directory", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@BOTH
def test_a_reader_misses_nothing_while_a_transaction_is_held_open(hubs: list[Catalog]) -> None:
    slow, quick, reading = hubs
    written, commit = Event(), Event()

    def write_slowly() -> None:
        with slow.writing() as records:
            records.add_event("episode", "first", {})
            written.set()
            assert commit.wait(30)

    def write_quickly() -> None:
        for ref in ("second", "third"):
            with quick.writing() as records:
                records.add_event("episode", ref, {})

    writers = [Thread(target=write_slowly), Thread(target=write_quickly)]
    writers[0].start()
    assert written.wait(30)
    writers[1].start()
    writers[1].join(PATIENCE_S)
    seen: list[str] = []
    cursor = follow(reading, seen, 0)  # whatever is committed by now
    commit.set()
    for writer in writers:
        writer.join(30)
        assert not writer.is_alive()
    follow(reading, seen, cursor)
    assert seen == ["first", "second", "third"]


@BOTH
def test_what_is_rolled_back_leaves_no_event(hubs: list[Catalog]) -> None:
    writing, _, reading = hubs

    def fail() -> None:
        with writing.writing() as records:
            records.add_event("episode", "never", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with writing.writing() as records:
        records.add_event("episode", "kept", {})
    seen: list[str] = []
    follow(reading, seen, 0)
    assert seen == ["kept"]


def test_readers_are_woken_though_the_answer_to_a_commit_was_lost(
    tmp_path: Path, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And when the courier sends it again, for the hub may have died before it could wake them."""
    hub, rung = HubService.open(HubOptions(directory=tmp_path / "hub"), Virtual(), RealDisk()), list[str]()
    real = hub._catalog.writing

    @contextmanager
    def lost(*args: float) -> Iterator[Records]:
        with real(*args) as records:
            yield records
        raise HubUnavailable("hub catalog", "has gone away")

    hub.experience.news.listen(lambda: rung.append("woken"))
    with monkeypatch.context() as patch:
        patch.setattr(hub._catalog, "writing", lost)
        with pytest.raises(HubUnavailable, match="gone away"):
            put(hub, episode := sealed(outbox))
    assert [event.ref for event in hub.events(0)] == [episode.meta.id]
    assert rung == ["woken"]
    assert put(hub, episode) == 1
    assert rung == ["woken"] * 2
    hub.close()
