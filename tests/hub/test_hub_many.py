"""Many robots at one hub: what they wait for is looked up once, they beat no faster than it can hear, all get in."""

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from anyio import CapacityLimiter
from hub_world import HubProcess, _Announced, in_process, put, registration, sealed, until, wants

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import HubUnavailable
from fleetloop.hub.bell import Bell
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.http.doorbell import AT_ONCE, REMEMBERED, Doorbell
from fleetloop.hub.http.face import Face
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService

# ---------------------------------------------------------------------- who waits


def woken(look: Callable[[Bell], object], waiting: int, then: Callable[[Bell], None]) -> list[object]:
    """What so many who wait for the same are told, if `then` happens once it was looked for in vain."""

    async def wait() -> list[object]:
        bell = Bell()
        doorbell, looked = Doorbell(bell, CapacityLimiter(8)), []

        def first_look() -> object:
            found = look(bell)
            looked.append(found)
            return found

        waits = [asyncio.ensure_future(doorbell.first("it", first_look, 30.0)) for _ in range(waiting)]
        while not looked:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(then, bell)
        return await asyncio.gather(*waits)

    return asyncio.run(wait())


def test_one_look_tells_all_who_wait() -> None:
    looks, news = list[str](), list[str]()

    def look(_: Bell) -> str:
        found = "".join(news)
        looks.append(found)
        return found

    def happen(bell: Bell) -> None:
        news.append("release 7")
        bell.ring()

    assert woken(look, 50, happen) == ["release 7"] * 50
    assert looks == ["", "release 7"]


def test_what_comes_while_it_is_looked_up_is_not_missed() -> None:
    looks, news = list[str](), list[str]()

    def look(bell: Bell) -> str:
        found = "".join(news)
        looks.append(found)
        if len(looks) == 2:  # the one that the first ring led to: it sees nothing, and then something comes
            news.append("an episode")
            bell.ring()
        return found

    assert woken(look, 2, lambda bell: bell.ring()) == ["an episode"] * 2


def test_who_comes_later_is_told_what_was_looked_up_since_the_ring() -> None:
    async def ask() -> None:
        bell, looks = Bell(), list[str]()
        doorbell = Doorbell(bell, CapacityLimiter(8))

        async def told(what: str) -> str:
            return await doorbell.first(what, lambda: looks.append(what) or what.upper(), 0.0)

        assert [await told("it"), await told("it")] == ["IT", "IT"]
        bell.ring()
        await asyncio.sleep(0)
        assert await told("it") == "IT"
        assert looks == ["it", "it"], "once before the ring and once after it"
        for number in range(REMEMBERED):  # no more is kept than that
            await told(f"other {number}")
        await told("it")
        assert looks.count("it") == 3

    asyncio.run(ask())


def test_a_look_that_failed_is_taken_again() -> None:
    async def ask() -> None:
        doorbell, failures = Doorbell(Bell(), CapacityLimiter(8)), [HubUnavailable("catalog", "is away")]

        def look() -> str:
            if failures:
                raise failures.pop()
            return "found"

        with pytest.raises(HubUnavailable, match="is away"):
            await doorbell.first("it", look, 0.0)
        assert await doorbell.first("it", look, 0.0) == "found"

    asyncio.run(ask())


def test_others_are_served_while_a_ring_wakes_many() -> None:
    news, looks, told = list[str](), list[str](), list[str]()

    def look() -> str:
        looks.append("".join(news))
        return looks[-1]

    async def wait(doorbell: Doorbell) -> None:
        told.append(await doorbell.first("it", look, 30.0))

    async def most_in_a_round() -> int:
        bell = Bell()
        doorbell = Doorbell(bell, CapacityLimiter(8))
        waits = [asyncio.ensure_future(wait(doorbell)) for _ in range(100)]
        while not looks:
            await asyncio.sleep(0.001)
        news.append("release 7")
        bell.ring()
        most = before = 0
        while not all(one.done() for one in waits):
            await asyncio.sleep(0)  # what another request is given: a turn in each round of the loop
            most, before = max(most, len(told) - before), len(told)
        return most

    assert asyncio.run(most_in_a_round()) <= AT_ONCE
    assert told == ["release 7"] * 100


# ---------------------------------------------------------------------- how often they beat


@pytest.mark.parametrize(("robots", "beat_s"), [(1, 0.25), (4, 1.0), (100, 5.0)])
def test_a_large_fleet_is_asked_to_beat_less_often(tmp_path: Path, robots: int, beat_s: float) -> None:
    options = HubOptions(directory=tmp_path / "hub", beats_per_s=4.0, silent_s=15.0)
    clock = Virtual(1000.0)
    with in_process(options, clock) as world:
        for number in range(robots):
            world.hub.register(registration(f"robot-{number}"))
        (orders,) = world.hub.beat([wants("robot-0", False)])
        assert orders.beat_s == beat_s
        clock.advance(16.0)  # all others have left
        world.hub.beat([wants("robot-0", False)])
        clock.advance(2.0)
        (orders,) = world.hub.beat([wants("robot-0", False)])
        assert orders.beat_s == 0.25


# ---------------------------------------------------------------------- how many get in


def test_however_many_uploads_stand_in_line_a_beat_is_answered(tmp_path: Path, outbox: Path) -> None:
    options = HubOptions(directory=tmp_path / "hub")
    with in_process(options, Virtual(1000.0)) as world:
        assert isinstance(world.hub, HubService)
        with serving(world.hub, options) as hub, ThreadPoolExecutor(60) as pool:
            hub.register(registration())
            with world.hub._catalog.writing():  # the disk takes its time
                uploads = [pool.submit(put, hub, sealed(outbox)) for _ in range(60)]
                until(lambda: sum(path.is_file() for path in (tmp_path / "hub").rglob("*")) >= 40)
                (orders,) = hub.beat([wants("robot-1", False)])
                assert orders.robot == "robot-1"
                assert hub.channel("stable") is None
                assert not any(upload.done() for upload in uploads)
            assert sorted(upload.result() for upload in uploads) == list(range(1, 61))


@contextmanager
def serving(service: HubService, options: HubOptions) -> Iterator[HttpHub]:
    server = _Announced(uvicorn.Config(Face(service, options).app, port=0, log_level="critical"))
    thread = Thread(target=server.run)
    thread.start()
    hub = HttpHub(server.url(), timeout_s=60.0)
    try:
        yield hub
    finally:
        hub.close()
        server.should_exit = True
        thread.join()


@contextmanager
def open_files(limit: int) -> Iterator[None]:
    """As a shell would start a process, with this soft limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_connections_than_a_shell_allows(tmp_path: Path) -> None:
    with open_files(128):
        hub = HubProcess.start(tmp_path / "hub")
    port = int(hub.url.rpartition(":")[2])
    with ExitStack() as held:
        for _ in range(200):
            line = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            line.sendall(b"GET /v1/health HTTP/1.1\r\nhost: hub\r\n\r\n")
            assert line.recv(100).startswith(b"HTTP/1.1 200")
    assert hub.stop() == 0
