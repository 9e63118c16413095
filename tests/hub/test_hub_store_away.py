"""A store that can't be reached: the hub says so, acknowledges nothing, and goes on when it is back."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from blake3 import blake3
from bucket import Kept, S3Server
from hub_world import behind_http, launch, manifest, put, put_blobs, sealed
from test_hub_uploads import large

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubUnavailable
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService


@pytest.fixture
def own_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that may be stopped."""
    server = S3Server()
    server.start()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    httpx.put(f"{server.environment['AWS_ENDPOINT_URL']}/away", trust_env=False).raise_for_status()
    yield server
    server.stop()


def test_nothing_is_taken_while_it_is_away_and_all_when_it_is_back(
    own_s3: S3Server, tmp_path: Path, outbox: Path
) -> None:
    options = HubOptions(directory=tmp_path / "hub", store=f"s3://away/{tmp_path.name}")
    small, big, (_, encoded) = sealed(outbox), large(outbox), manifest()
    with behind_http(options, Virtual(1000)) as world:
        assert isinstance(world.hub, HttpHub)
        before = put(world.hub, sealed(outbox))
        own_s3.stop()
        for attempt in (
            lambda: put(world.hub, small),
            lambda: put(world.hub, big),
            lambda: put_blobs(world.hub, encoded),
        ):
            with pytest.raises(HubUnavailable, match=r"s3://away.*can't serve"):
                attempt()
        data = small.path.read_bytes()
        headers = {wire.HASH_HEADER: blake3(data).hexdigest()}
        url = f"{world.hub.url}/v1/episodes/{small.meta.id}"
        said = httpx.put(url, content=data, headers=headers, trust_env=False, timeout=30)
        assert (said.status_code, "Retry-After" in said.headers) == (503, True)
        assert len(world.hub.events(0)) == len(world.hub.episodes()) == before == 1
        assert world.hub.fleet().episodes == 1, "what needs no store goes on"
        own_s3.start()
        assert [put(world.hub, small), put(world.hub, big)] == [2, 3]
        put_blobs(world.hub, encoded)
    assert len(Kept(options).names("episodes")) == 3


def test_a_hub_whose_store_is_away_does_not_begin(own_s3: S3Server, tmp_path: Path) -> None:
    options = HubOptions(directory=tmp_path / "hub", store="s3://no-such-bucket")
    with pytest.raises(HubUnavailable, match="s3://no-such-bucket"):
        HubService.open(options, Virtual(), RealDisk())
    process = launch(tmp_path / "hub", store=options.store)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.count("\n")) == (1, 1)


@pytest.mark.parametrize("store", ["elsewhere", "gs://bucket", "s3://"])
def test_what_is_no_store_is_said_to_be_none(store: str) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET/PREFIX"):
        HubOptions(store=store)
