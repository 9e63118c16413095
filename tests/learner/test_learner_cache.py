"""The files of episodes on the learner's disk: bounded, whole, and fetched again when they are wanted again."""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_world import MemoryHub, write_episode

from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskFull, DiskTrouble, HubUnavailable
from fleetloop.learner.buffer.cache import EpisodeCache


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> MemoryHub:
    directory, hub = tmp_path_factory.mktemp("hub"), MemoryHub()
    for number, frames in enumerate([1, 60, 3, 200, 9, 30]):
        hub.add(write_episode(directory, number, "p" * frames))
    return hub


class Crash(BaseException):
    """The process is gone."""


class CrashingHub(MemoryHub):
    """Dies half-way through a file."""

    def get_episode(self, id: str, path: Path) -> None:
        data = self.files[id].read_bytes()
        path.write_bytes(data[: len(data) // 2])
        raise Crash


def size_of(hub: MemoryHub, id: str) -> int:
    return hub.files[id].stat().st_size


def bytes_in(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_file_not_opened_for_the_longest_makes_room(hub, tmp_path_factory, data):
    directory, ids = tmp_path_factory.mktemp("cache"), list(hub.files)
    most = data.draw(st.integers(0, sum(size_of(hub, id) for id in ids)))
    cache, held = EpisodeCache(hub, RealDisk(), directory, most), OrderedDict()
    for id in data.draw(st.lists(st.sampled_from(ids), max_size=12)):
        fetched = len(hub.fetched)
        assert cache.open(id).meta.id == id
        assert len(hub.fetched) - fetched == (id not in held)
        held[id] = size_of(hub, id)
        held.move_to_end(id)
        while sum(held.values()) > most and len(held) > 1:
            held.popitem(last=False)
        assert {path.stem for path in directory.iterdir()} == set(held)
        assert cache.held_bytes == sum(held.values()) == bytes_in(directory)


def test_a_crash_half_way_leaves_no_half_file(hub, tmp_path):
    id = next(iter(hub.files))
    crashing = CrashingHub()
    crashing.files = hub.files
    with pytest.raises(Crash):
        EpisodeCache(crashing, RealDisk(), tmp_path, 1 << 30).open(id)
    cache = EpisodeCache(hub, RealDisk(), tmp_path, 1 << 30)
    assert not list(tmp_path.iterdir())
    assert cache.open(id).meta.id == id


def test_a_torn_file_is_fetched_again(hub, tmp_path):
    id = next(iter(hub.files))
    path = tmp_path / hub.files[id].name
    path.write_bytes(hub.files[id].read_bytes()[:-100])
    cache = EpisodeCache(hub, RealDisk(), tmp_path, 1 << 30)
    assert cache.open(id).meta.id == id
    assert cache.held_bytes == size_of(hub, id) == bytes_in(tmp_path)


def test_what_an_earlier_process_left_counts_and_is_not_fetched_again(hub, tmp_path):
    ids = list(hub.files)[:3]
    cache = EpisodeCache(hub, RealDisk(), tmp_path, 1 << 30)
    for id in ids:
        cache.open(id)
    fetched = len(hub.fetched)
    again = EpisodeCache(hub, RealDisk(), tmp_path, cache.held_bytes - 1)
    assert len(list(tmp_path.iterdir())) == 2
    assert again.open(ids[2]).meta.id == ids[2]
    assert len(hub.fetched) == fetched


def test_what_is_open_stays_readable_when_it_has_to_go(hub, tmp_path):
    long = max(hub.files, key=lambda id: size_of(hub, id))
    cache = EpisodeCache(hub, RealDisk(), tmp_path, 0)
    episode = cache.open(long)
    cache.remove(long)
    assert not list(tmp_path.iterdir())
    assert episode.column("tick").tolist() == list(range(200))


def test_a_disk_that_is_full_before_the_limit_is_the_limit(hub, tmp_path):
    ids = list(hub.files)

    class Full(MemoryHub):
        error = DiskFull

        def get_episode(self, id, path):
            if bytes_in(path.parent) + size_of(self, id) > size_of(self, ids[3]) + size_of(self, ids[5]):
                path.write_bytes(b"half")
                raise self.error(str(path), "is full")
            super().get_episode(id, path)

    full = Full()
    full.files = hub.files
    cache = EpisodeCache(full, RealDisk(), tmp_path, 10**9)
    for id in ids:
        assert cache.open(id).meta.id == id
    assert cache.held_bytes == bytes_in(tmp_path)
    full.error, held = DiskTrouble, set(tmp_path.iterdir())
    gone = max((id for id in ids if not (tmp_path / f"{id}.arrow").exists()), key=lambda id: size_of(hub, id))
    (tmp_path / "somebody's").write_bytes(bytes(10**7))
    with pytest.raises(DiskTrouble):
        cache.open(gone)
    assert set(tmp_path.iterdir()) >= held, "any other trouble is mended by no room"
    cramped = EpisodeCache(full, RealDisk(), tmp_path / "other", 10**9)
    (tmp_path / "other" / "somebody's").write_bytes(bytes(10**7))
    full.error = DiskFull
    with pytest.raises(DiskFull, match="is full"):
        cramped.open(ids[0])


def test_a_hub_that_is_away_costs_nothing(hub, tmp_path):
    one, other = list(hub.files)[:2]
    cache = EpisodeCache(hub, RealDisk(), tmp_path, 1 << 30)
    cache.open(one)
    hub.away = True
    try:
        with pytest.raises(HubUnavailable):
            cache.open(other)
        assert cache.open(one).meta.id == one
    finally:
        hub.away = False
    assert cache.open(other).meta.id == other


def test_what_is_on_the_disk_is_there_while_another_is_fetched(hub, tmp_path):
    asked, go_on = Event(), Event()

    class Slow(MemoryHub):
        def get_episode(self, id, path):
            if id == ids[1]:
                asked.set()
                assert go_on.wait(30)
            super().get_episode(id, path)

    slow, ids = Slow(), list(hub.files)
    slow.files = hub.files
    cache = EpisodeCache(slow, RealDisk(), tmp_path / "cache", 1 << 30)
    cache.open(ids[0])
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(cache.open, ids[1]) for _ in range(2)]
        assert asked.wait(30)
        assert pool.submit(cache.open, ids[0]).result(30).meta.id == ids[0]
        go_on.set()
        assert [one.result(30).meta.id for one in waiting] == [ids[1]] * 2
    assert slow.fetched == [ids[0], ids[1]]
