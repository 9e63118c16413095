"""Large episodes: asked about first, resumed where they stopped, put past the hub into S3; taken only when whole."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from blake3 import blake3
from bucket import Kept
from hub_world import HubProcess, World, behind_http, fresh_id, in_process, put, sealed, until
from line import line
from starlette.types import Message

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import EpisodeInvalid, HubRefused, HubUnavailable
from fleetloop.core.recording import Sealed
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import IN_ONE_GO, HttpHub
from fleetloop.hub.http.face import Face
from fleetloop.hub.options import HubOptions
from fleetloop.hub.storage.stores import open_store

Opened = Callable[[HubOptions, Virtual], AbstractContextManager[World]]
DAY = 86_400.0


def large(outbox: Path, **meta: object) -> Sealed:
    """More than goes up in one request."""
    episode = sealed(outbox, instruction="put " * 300_000, **meta)
    assert episode.size > 2 * IN_ONE_GO
    return episode


@pytest.fixture
def served(options: HubOptions) -> Iterator[World]:
    with behind_http(options, Virtual(time.time())) as world:
        yield world


@pytest.fixture
def http(served: World) -> Iterator[httpx.Client]:
    assert isinstance(served.hub, HttpHub)
    with httpx.Client(base_url=served.hub.url, trust_env=False) as client:
        yield client


def ask(http: httpx.Client, episode: Sealed, size: int | None = None) -> httpx.Response:
    headers = {wire.LENGTH_HEADER: str(size or episode.size)}
    return http.put(f"/v1/uploads/{episode.meta.id}/{episode.hash}", headers=headers)


def send(http: httpx.Client, episode: Sealed, data: bytes, offset: int = 0) -> httpx.Response:
    """Bytes to wherever the hub wants them."""
    place = ask(http, episode).json()
    assert place["offset"] == offset
    headers = {wire.OFFSET_HEADER: str(offset)} if place["method"] == "PATCH" else {}
    return http.request(place["method"], place["url"], content=data, headers=headers)


def commit(http: httpx.Client, episode: Sealed) -> httpx.Response:
    return http.post(f"/v1/uploads/{episode.meta.id}/{episode.hash}")


# ---------------------------------------------------------------------- on both stores


def test_a_large_episode_comes_back_byte_for_byte(world: World, outbox: Path, tmp_path: Path) -> None:
    episode = large(outbox)
    acknowledged = world.hub.put_episode(episode.meta.id, episode.path, episode.hash)
    assert world.hub.put_episode(episode.meta.id, episode.path, episode.hash) == replace(acknowledged, known=True)
    world.hub.get_episode(episode.meta.id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == episode.path.read_bytes()
    assert world.kept.names("episodes", "incoming") == [f"episodes/{episode.path.name}"]


def test_other_bytes_under_a_known_id_are_refused_before_they_are_sent(served: World, outbox: Path) -> None:
    episode = large(outbox)
    put(served.hub, episode)
    other = large(outbox, id=episode.meta.id, site="elsewhere")
    assert isinstance(served.hub, HttpHub)
    with line(served.hub.url) as way:
        with pytest.raises(HubRefused, match=f"{episode.hash}.*{other.hash}") as refusal:
            put(HttpHub(way.url), other)
        assert refusal.value.status == 409
        assert way.up < 1000


def test_many_at_once_make_one_entry(served: World, outbox: Path) -> None:
    episode = large(outbox)

    def send(_: int) -> int:
        while True:
            try:
                return put(served.hub, episode)
            except HubUnavailable:  # another request took its place; a courier comes again
                continue

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(send, range(6))) == {1}
    assert len(served.hub.events(0)) == 1
    assert served.kept.names("episodes", "incoming") == [f"episodes/{episode.path.name}"]


def test_what_is_too_large_is_refused_before_it_is_sent(http: httpx.Client, outbox: Path) -> None:
    assert ask(http, sealed(outbox), size=5_000_000).status_code == 413


def test_what_has_not_come_can_not_be_taken(http: httpx.Client, outbox: Path) -> None:
    said = commit(http, sealed(outbox))
    assert (said.status_code, said.json()["error"]["field"]) == (404, "upload")


@pytest.mark.parametrize("path", ["not-a-ulid/" + "0" * 64, "0" * 26 + "/..%2f..%2fcatalog.sqlite", "0" * 26 + "/abc"])
def test_no_other_names_than_ids_and_hashes(http: httpx.Client, path: str) -> None:
    said = http.put(f"/v1/uploads/{path}", headers={wire.LENGTH_HEADER: "10"})
    assert said.status_code in (404, 422)


def test_bytes_that_are_no_episode_are_refused_and_forgotten(served: World, http: httpx.Client, outbox: Path) -> None:
    episode, data = sealed(outbox), b"no Arrow file at all" * 100_000
    said = replace(episode, hash=blake3(data).hexdigest(), size=len(data))
    assert send(http, said, data).is_success
    refused = commit(http, said)
    assert (refused.status_code, refused.json()["error"]["type"]) == (422, EpisodeInvalid.__name__)
    assert served.kept.names() == []


def test_an_upload_that_was_damaged_on_its_way_is_sent_anew(served: World, http: httpx.Client, outbox: Path) -> None:
    """The sender's file is sound: it must not be told that it isn't, or its courier would set it aside."""
    episode = large(outbox)
    assert send(http, episode, bytes(episode.size)).is_success
    said = commit(http, episode)
    assert said.status_code == 503
    assert "Retry-After" in said.headers
    assert served.kept.names() == []
    assert put(served.hub, episode) == 1


def test_an_upload_that_nobody_finishes_is_forgotten_after_a_while(
    served: World, http: httpx.Client, outbox: Path
) -> None:
    abandoned, fresh = large(outbox), large(outbox)
    assert send(http, abandoned, abandoned.path.read_bytes()).is_success
    assert len(served.kept.names("incoming")) == 1
    served.clock.sleep_until(served.clock.now() + DAY / 2)
    served.service.keep_house(served.clock.now())
    put(served.hub, fresh)
    assert len(served.kept.names("incoming")) == 1
    served.clock.sleep_until(served.clock.now() + DAY)
    served.service.keep_house(served.clock.now())
    assert served.kept.names("incoming") == []
    assert put(served.hub, abandoned) == 2


def test_a_hub_that_nobody_talks_to_forgets_abandoned_uploads_too(tmp_path: Path, outbox: Path) -> None:
    options, episode = HubOptions(directory=tmp_path / "hub"), large(outbox)
    hub = HubProcess.start(options.directory, keep_uploads_wall_s=2.0)
    with httpx.Client(base_url=hub.url, trust_env=False) as http:
        assert send(http, episode, b"a beginning").is_success
    assert len(Kept(options).names("incoming")) == 1
    until(lambda: Kept(options).names("incoming") == [])
    assert hub.stop() == 0


def test_what_a_hub_left_that_died_before_its_commit_is_replaced(world: World, outbox: Path, tmp_path: Path) -> None:
    """Nobody was told that it is kept, and the catalog knows nothing of it."""
    small, big = sealed(outbox), large(outbox)
    for episode in (small, big):
        world.kept.write(f"episodes/{episode.path.name}", b"another attempt at it")
        put(world.hub, episode)
        world.hub.get_episode(episode.meta.id, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == episode.path.read_bytes()


# ---------------------------------------------------------------------- the directory: parts


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
    headers = [(b"upload-offset", b"0")]
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


# ---------------------------------------------------------------------- S3: past the hub


@pytest.fixture
def in_s3(bucket: str, options: HubOptions) -> HubOptions:
    return options.model_copy(update={"store": bucket})


@pytest.mark.parametrize("store", [""])
def test_large_bytes_go_past_the_hub_both_ways(in_s3: HubOptions, outbox: Path, tmp_path: Path) -> None:
    episode = large(outbox)
    with behind_http(in_s3, Virtual(time.time())) as world, line(world.hub.url) as way:  # type: ignore[union-attr]
        hub = HttpHub(way.url)
        assert put(hub, episode) == 1
        hub.get_episode(episode.meta.id, tmp_path / "copy")
        hub.close()
        assert way.up < 10_000
    assert (tmp_path / "copy").read_bytes() == episode.path.read_bytes()


@pytest.mark.parametrize("store", [""])
def test_what_lies_in_the_bucket_already_is_not_sent_again(in_s3: HubOptions, outbox: Path) -> None:
    episode = large(outbox)
    with behind_http(in_s3, Virtual(time.time())) as world:
        with httpx.Client(base_url=world.hub.url, trust_env=False) as http:  # type: ignore[union-attr]
            send(http, episode, episode.path.read_bytes())
            assert ask(http, episode).json()["offset"] == episode.size
            refused = http.patch(
                f"/v1/uploads/{episode.meta.id}/{episode.hash}", content=b"x", headers={wire.OFFSET_HEADER: "0"}
            )
            assert refused.status_code == 409
        assert put(world.hub, episode) == 1


@pytest.mark.parametrize("store", [""])
@pytest.mark.parametrize("staged", [True, False])
def test_no_bytes_take_the_name_of_others_in_a_bucket(in_s3: HubOptions, staged: bool) -> None:
    store, kept = open_store(in_s3, RealDisk()), Kept(in_s3)
    kept.write("episodes/a.arrow", b"others")
    with store.incoming(100) as incoming:
        incoming.write(b"mine")
        arrived = incoming.finish()
        if not staged:
            kept.write("incoming/b/c", b"mine")
            arrived = replace(arrived, object="incoming/b/c")
        assert not store.keep(arrived, "episodes/a.arrow")
        assert kept.read("episodes/a.arrow") == b"others"
        for _ in range(2):
            assert store.keep(arrived, "episodes/d.arrow"), "the same again is kept already"
        store.replace(arrived, "episodes/a.arrow")
    assert kept.read("episodes/a.arrow") == kept.read("episodes/d.arrow") == b"mine"
