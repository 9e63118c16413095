"""Many at once: one entry per id, and a cursor that never skips."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event as Flag
from threading import Thread

from hub_world import World, put, sealed

from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import Acknowledgement


def test_many_uploads_of_one_id_make_one_entry(world: World, outbox: Path) -> None:
    episode = sealed(outbox, "p" * 50)

    def send(_: int) -> Acknowledgement:
        return world.hub.put_episode(episode.meta.id, episode.path, episode.hash)

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(send, range(16)))
    assert len({acknowledgement.seq for acknowledgement in said}) == 1
    assert [acknowledgement.known for acknowledgement in said].count(False) == 1
    assert world.kept.names() == [f"episodes/{episode.meta.id}.arrow", "events/000000000001.json"]


def test_of_two_different_episodes_under_one_id_one_is_kept(world: World, outbox: Path, tmp_path: Path) -> None:
    first = sealed(outbox, "pp")
    (tmp_path / "other").mkdir()
    second = sealed(tmp_path / "other", "ppp", id=first.meta.id)

    def send(number: int) -> bool:
        try:
            put(world.hub, (first, second)[number % 2])
        except HubRefused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(send, range(8)))
    assert kept.count(True) == 4
    winner = first if kept[0] else second
    world.hub.get_episode(first.meta.id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == winner.path.read_bytes()


def test_a_reader_that_follows_the_cursor_misses_nothing(world: World, outbox: Path) -> None:
    episodes = [sealed(outbox) for _ in range(24)]
    seen: list[str] = []
    seqs: list[int] = []
    done = Flag()

    def follow() -> None:
        after = 0
        while len(seen) < len(episodes) and not done.is_set():
            for event in world.hub.events(after, limit=5, wait_s=10):
                assert event.seq > after
                after = event.seq
                seen.append(event.ref)

    reader = Thread(target=follow)
    reader.start()
    with ThreadPoolExecutor(6) as pool:
        seqs = list(pool.map(lambda episode: put(world.hub, episode), episodes))
    reader.join(timeout=60)
    done.set()
    assert sorted(seen) == sorted(episode.meta.id for episode in episodes)
    by_seq = sorted(zip(seqs, episodes, strict=True), key=lambda pair: pair[0])
    assert seen == [episode.meta.id for _, episode in by_seq]
