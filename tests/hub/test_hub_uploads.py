"""Large episodes, whatever the store: asked about first, taken only when whole."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from blake3 import blake3
from hub_world import World, behind_http, put, sealed
from large_uploads import ask, commit, large, send
from line import line

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import EpisodeInvalid, HubRefused, HubUnavailable
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.storage.objects import Place
from fleetloop.hub.tokens import Scope

DAY = 86_400.0


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


def test_what_was_sent_twice_leaves_nothing_either(served: World, http: httpx.Client, outbox: Path) -> None:
    """Two couriers may be at it: the second one's bytes come after the first one's were taken."""
    episode = large(outbox)
    data = episode.path.read_bytes()
    late = ask(http, episode).json()
    assert send(http, episode, data).is_success
    assert commit(http, episode).status_code == 201
    headers = {wire.OFFSET_HEADER: "0"} if late["method"] == "PATCH" else {}
    assert http.request(late["method"], late["url"], content=data, headers=headers).is_success
    assert len(served.kept.names("incoming")) == 1
    assert commit(http, episode).status_code == 200
    assert served.kept.names("incoming") == []


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


def test_what_the_token_is_not_for_is_sent_once_however_often_it_is_refused(options: HubOptions, outbox: Path) -> None:
    asking, episode = options.model_copy(update={"require_tokens": True}), large(outbox)
    with behind_http(asking, Virtual(time.time())) as world, line(world.hub.url) as way:
        _, wrong = world.service.tokens.issue(Scope.ROBOT, ["robot-2"])
        for _ in range(3):
            with closing(HttpHub(way.url, token=wrong)) as hub, pytest.raises(HubRefused, match="speaks for robot-2"):
                put(hub, episode)
        said = world.service.uploads.begin(episode.meta.id, episode.hash, episode.size)
        assert said == Place(episode.size, 0)
        _, right = world.service.tokens.issue(Scope.ROBOT, ["robot-1"])
        with closing(HttpHub(way.url, token=right)) as hub:
            put(hub, episode)
        assert way.up < 1.5 * episode.size
        assert world.kept.names("incoming") == []


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


def test_what_a_hub_left_that_died_before_its_commit_is_replaced(world: World, outbox: Path, tmp_path: Path) -> None:
    """Nobody was told that it is kept, and the catalog knows nothing of it."""
    small, big = sealed(outbox), large(outbox)
    for episode in (small, big):
        world.kept.write(f"episodes/{episode.path.name}", b"another attempt at it")
        put(world.hub, episode)
        world.hub.get_episode(episode.meta.id, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == episode.path.read_bytes()
