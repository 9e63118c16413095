"""Large episodes past the hub: robots put them into the S3 bucket, readers fetch them there."""

import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from bucket import Kept
from hub_world import behind_http, put
from large_uploads import ask, large, send
from line import line

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.storage.stores import open_store


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
