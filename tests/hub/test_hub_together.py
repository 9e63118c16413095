"""Episodes that come at once share what keeping them costs, and nobody hears of it before it is done."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from hub_world import TASKS, put, sealed, until

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubRefused
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService
from fleetloop.hub.together import Together


class HeldDisk(RealDisk):
    """Forcing a name onto it takes until `free` is set."""

    def __init__(self) -> None:
        self.free, self.forced = Event(), 0

    def sync_name(self, path: Path) -> None:
        if path.parent.name == "episodes":
            self.forced += 1
            assert self.free.wait(30)
        super().sync_name(path)


def test_whoever_comes_meanwhile_shares_the_next_commit(tmp_path: Path, outbox: Path) -> None:
    disk, episodes = HeldDisk(), [sealed(outbox) for _ in range(6)]
    hub = HubService.open(HubOptions(directory=tmp_path / "hub"), Virtual(), disk, TASKS)
    heard: list[int] = []
    hub.experience.news.listen(lambda: heard.append(len(hub.events(0))))

    def waiting() -> int:
        return len(hub.experience._admission._together._waiting)

    with ThreadPoolExecutor(6) as pool:
        sent: list[Future[int]] = [pool.submit(put, hub, episodes[0])]
        until(lambda: disk.forced == 1)
        sent += [pool.submit(put, hub, episode) for episode in episodes[1:]]
        until(lambda: waiting() == 5)
        assert hub.events(0) == []
        assert not any(one.done() for one in sent)
        disk.free.set()
        seqs = [one.result(30) for one in sent]
    assert sorted(seqs) == [1, 2, 3, 4, 5, 6]
    assert (disk.forced, heard) == (2, [1, 6])
    hub.close()


def test_of_a_group_only_the_one_that_is_refused_hears_of_it() -> None:
    began, free = Event(), Event()

    def work(items: Sequence[int]) -> list[int | Exception]:
        began.set()
        assert free.wait(30)
        return [HubRefused("item", str(item)) if item == 2 else 10 * item for item in items]

    together: Together[int, int] = Together(work)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(together.do, 0)
        assert began.wait(30)
        others = [pool.submit(together.do, item) for item in (1, 2, 3)]
        until(lambda: len(together._waiting) == 3)
        free.set()
        assert [first.result(30), others[0].result(30), others[2].result(30)] == [0, 10, 30]
        with pytest.raises(HubRefused, match="item: 2"):
            others[1].result(30)


def test_what_fails_fails_for_all_of_the_group_and_the_next_one_is_served() -> None:
    began, free, broken = Event(), Event(), [True]

    def work(items: Sequence[int]) -> Sequence[int]:
        began.set()
        assert free.wait(30)
        if broken[0]:
            raise OSError("no disk")
        return items

    together: Together[int, int] = Together(work)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(together.do, 0)
        assert began.wait(30)
        others = [pool.submit(together.do, item) for item in (1, 2)]
        until(lambda: len(together._waiting) == 2)
        free.set()
        for one in (first, *others):
            with pytest.raises(OSError, match="no disk"):
                one.result(30)
    broken[0] = False
    assert together.do(7) == 7
