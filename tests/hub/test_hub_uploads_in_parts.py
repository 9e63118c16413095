"""Uploads into the hub's directory: they go on where they stopped, and take no more room than they may."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from bucket import Kept
from hub_world import HubProcess, World, fresh_id, in_process, put, sealed, until
from large_uploads import ask, commit, large, send
from line import line
from starlette.types import Message

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import HubUnavailable
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import IN_ONE_GO, HttpHub
from fleetloop.hub.http.face import Face
from fleetloop.hub.options import HubOptions


@pytest.mark.parametrize("store", [""])
def test_a_connection_that_is_cut_costs_only_the_rest(served: World, outbox: Path, tmp_path: Path) -> None:
    episode = large(outbox)
    assert isinstance(served.hub, HttpHub)
    with line(served.hub.url) as way:
        way.cut_after = cut = 2 * episode.size // 3
        hub = HttpHub(way.url)
        with pytest.raises(HubUnavailable):
            put(hub, episode)
        until(lambda: bool(served.kept.names("incoming")))
        until(lambda: len(served.kept.read(served.kept.names("incoming")[0])) > cut - IN_ONE_GO)
        assert served.hub.events(0) == []
        way.up = 0
        assert put(hub, episode) == 1
        assert way.up < episode.size - cut + IN_ONE_GO
        hub.close()
    served.hub.get_episode(episode.meta.id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == episode.path.read_bytes()
    assert served.kept.names("incoming") == []


@pytest.mark.parametrize("store", [""])
def test_of_what_breaks_off_all_that_came_is_kept(options: HubOptions) -> None:
    """Be it less than is written at a time."""
    said = iter(({"type": "http.request", "body": b"12345", "more_body": True}, {"type": "http.disconnect"}))

    async def receive() -> Message:
        return next(said)

    async def send(_: Message) -> None: ...

    path = f"/v1/uploads/{fresh_id()}/{'0' * 64}"
    headers = [(b"host", b"127.0.0.1"), (b"upload-offset", b"0")]
    scope = {"type": "http", "method": "PATCH", "path": path, "query_string": b"", "headers": headers}
    with in_process(options, Virtual(time.time())) as world:
        asyncio.run(Face(world.hub, options).app(scope, receive, send))  # type: ignore[arg-type]
        (name,) = world.kept.names("incoming")
        assert world.kept.read(name) == b"12345"


def test_it_goes_on_after_the_hub_was_killed(tmp_path: Path, outbox: Path) -> None:
    options, episode = HubOptions(directory=tmp_path / "hub"), large(outbox)
    data, half = episode.path.read_bytes(), episode.size // 2
    hub = HubProcess.start(options.directory)
    with httpx.Client(base_url=hub.url, trust_env=False) as http:
        assert send(http, episode, data[:half]).is_success
    hub.kill()
    hub = HubProcess.start(options.directory)
    with httpx.Client(base_url=hub.url, trust_env=False) as http:
        assert send(http, episode, data[half:], offset=half).is_success
        assert commit(http, episode).status_code == 201
    assert hub.stop() == 0
    assert Kept(options).read(f"episodes/{episode.path.name}") == data


@pytest.mark.parametrize("store", [""])
def test_a_part_goes_nowhere_but_where_the_last_one_ended(served: World, http: httpx.Client, outbox: Path) -> None:
    episode = large(outbox)
    send(http, episode, b"12345")
    said = http.patch(f"/v1/uploads/{episode.meta.id}/{episode.hash}", content=b"x", headers={wire.OFFSET_HEADER: "3"})
    assert (said.status_code, "5 bytes are here" in said.text) == (503, True)
    assert ask(http, episode, size=4).json()["offset"] == 0, "what can be no part of it is forgotten"


@pytest.mark.parametrize("store", [""])
def test_nothing_is_added_to_what_is_being_taken(options: HubOptions, outbox: Path) -> None:
    with in_process(options, Virtual(time.time())) as world:
        service, episode = world.service, sealed(outbox)
        with service.uploads.append(episode.meta.id, episode.hash, 0) as part:
            part.write(episode.path.read_bytes())

        def add(_: str) -> None:
            with pytest.raises(HubUnavailable, match="being taken"):
                service.uploads.append(episode.meta.id, episode.hash, episode.size)

        service.uploads.commit(episode.meta.id, episode.hash, add)
        assert world.kept.read(f"episodes/{episode.path.name}") == episode.path.read_bytes()


@pytest.mark.parametrize("store", [""])
def test_who_begins_again_cuts_off_the_one_before(options: HubOptions, outbox: Path) -> None:
    """Its connection may have died without a word."""
    with in_process(options, Virtual(time.time())) as world:
        uploads, id, hash = world.hub.uploads, fresh_id(), "0" * 64  # type: ignore[union-attr]
        with uploads.append(id, hash, 0) as first:
            first.write(b"123")
            assert uploads.begin(id, hash, 10).offset == 3
            with pytest.raises(HubUnavailable, match="begun again"):
                first.write(b"456")
            with uploads.append(id, hash, 3) as second:
                second.write(b"4567890")
        assert uploads.begin(id, hash, 10).offset == 10


@pytest.mark.parametrize("store", [""])
def test_unfinished_uploads_take_no_more_room_than_they_may(options: HubOptions) -> None:
    options = options.model_copy(update={"max_waiting_mb": 0.01})
    ids = [fresh_id() for _ in range(4)]
    with in_process(options, Virtual(time.time())) as world:
        uploads, hash = world.hub.uploads, "0" * 64  # type: ignore[union-attr]
        for id in ids[:3]:
            uploads.begin(id, hash, 4000)
            with uploads.append(id, hash, 0) as part:
                part.write(bytes(4000))
        assert world.kept.names("incoming") == [f"incoming/{id}.{hash}" for id in sorted(ids[1:3])]
        with uploads.append(ids[3], hash, 0) as part:
            part.write(bytes(8000))
            with pytest.raises(HubUnavailable, match="max_waiting_mb"):
                uploads.begin(ids[0], hash, 4000)


@pytest.mark.parametrize("store", [""])
def test_who_never_asks_where_to_go_takes_no_more_room_either(options: HubOptions) -> None:
    options = options.model_copy(update={"max_waiting_mb": 0.01})
    with in_process(options, Virtual(time.time())) as world:
        for _ in range(5):
            with world.hub.uploads.append(fresh_id(), "0" * 64, 0) as part:  # type: ignore[union-attr]
                part.write(bytes(8000))
        assert len(world.kept.names("incoming")) <= 2


def test_a_hub_that_nobody_talks_to_forgets_abandoned_uploads_too(tmp_path: Path, outbox: Path) -> None:
    options, episode = HubOptions(directory=tmp_path / "hub"), large(outbox)
    hub = HubProcess.start(options.directory, keep_uploads_wall_s=2.0)
    with httpx.Client(base_url=hub.url, trust_env=False) as http:
        assert send(http, episode, b"a beginning").is_success
    assert len(Kept(options).names("incoming")) == 1
    until(lambda: Kept(options).names("incoming") == [])
    assert hub.stop() == 0
