"""Large episodes past the hub: robots put them into the S3 bucket, readers fetch them there."""

import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from bucket import Kept, S3Server
from hub_world import behind_http, put
from large_uploads import ask, large, send
from line import line

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubUnavailable
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.storage import s3 as storage
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
def test_a_line_into_the_bucket_that_is_cut_costs_the_part_under_way_alone(
    in_s3: HubOptions, s3: S3Server, outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 200_000)
    episode = large(outbox)
    with line(s3.environment["AWS_ENDPOINT_URL"]) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.url)  # the hub's links are the robots' way, too
        with behind_http(in_s3, Virtual(time.time())) as world:
            way.cut_after = episode.size // 2
            with pytest.raises(HubUnavailable):
                put(world.hub, episode)
            there, whole = len(world.kept.names("incoming")), -(-episode.size // 200_000)
            assert 0 < there < whole
            asked = list[None]()  # after every part but the last
            world.hub.put_episode(
                episode.meta.id, episode.path, episode.hash, gives_way=lambda: bool(asked.append(None))
            )
            left = whole - there - 1  # one fewer if the part that was cut had gone out whole, and came late
            assert left - 1 <= len(asked) <= left
            world.hub.get_episode(episode.meta.id, tmp_path / "copy")
            assert world.kept.names("incoming") == []
    assert (tmp_path / "copy").read_bytes() == episode.path.read_bytes()


@pytest.mark.parametrize("store", [""])
def test_parts_with_a_gap_between_are_sent_from_there(in_s3: HubOptions, outbox: Path) -> None:
    episode = large(outbox)
    data = episode.path.read_bytes()
    upload = f"incoming/{episode.meta.id}/{episode.hash}"
    with behind_http(in_s3, Virtual(time.time())) as world:
        world.kept.write(f"{upload}/{0:012d}", data[:1000])
        world.kept.write(f"{upload}/{1500:012d}", data[1500:])
        with httpx.Client(base_url=world.hub.url, trust_env=False) as http:  # type: ignore[union-attr]
            assert ask(http, episode).json()["offset"] == 1000
        assert put(world.hub, episode) == 1
        assert world.kept.read(f"episodes/{episode.path.name}") == data


@pytest.mark.parametrize("store", [""])
@pytest.mark.parametrize("staged", [True, False])
def test_what_is_too_large_for_one_put_takes_no_name_of_others_either(
    in_s3: HubOptions, staged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LARGEST_PUT", 3)
    test_no_bytes_take_the_name_of_others_in_a_bucket(in_s3, staged)
    assert Kept(in_s3).names("incoming") == ([] if staged else ["incoming/b/c"])


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
