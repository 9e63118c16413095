"""A site's couriers fetch releases by way of a real nginx, configured as the documentation shows."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from blake3 import blake3
from hub_world import POLICY, HubProcess, behind_http, put_blobs
from line import Line, line

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual, Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubRefused, HubUnavailable
from fleetloop.core.host import HostDirectory
from fleetloop.core.release import BlobEntry, Release
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.options import CourierOptions
from fleetloop.hub.catalog.catalog import CATALOG, Catalog
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.tokens import Scope, Tokens
from fleetloop.weights import blocks
from fleetloop.weights.codec import BLOCKS, encode, from_safetensors
from fleetloop.weights.verified import verify
from manifests import manifest_of
from nginx import SiteCacheServer, site_cache

COURIERS = 6
AWAY = "http://127.0.0.1:9"  # where nobody listens
WEIGHTS = map(np.random.default_rng, itertools.count())
BLOB = b"the blob"
HASH = blake3(BLOB).hexdigest()
ENTRY = BlobEntry(HASH, len(BLOB))


@dataclass(frozen=True)
class Site:
    """A hub far away, the line there, and a cache here.

    Attributes:
        learner: a client at the hub's own machine.
        connect: a client with a robot's token; `release_cache` as of HttpHub.
    """

    line: Line
    cache: SiteCacheServer
    learner: HttpHub
    connect: Callable[[str | None], HttpHub]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("site")
    (place / "hub").mkdir()
    with closing(Catalog(place / "hub" / CATALOG)) as catalog:
        tokens = Tokens(catalog, Wall())
        learner, robot, cache = (tokens.issue(Scope(scope))[1] for scope in ("learner", "robot", "robot"))
    hub = HubProcess.start(place / "hub", require_tokens=True)
    with ExitStack() as closes:
        closes.callback(hub.kill)
        here = closes.enter_context(closing(HttpHub(hub.url, token=learner)))
        way = closes.enter_context(line(hub.url))
        server = closes.enter_context(site_cache(place / "nginx", way.url, cache))

        def connect(release_cache: str | None) -> HttpHub:
            return closes.enter_context(closing(HttpHub(way.url, token=robot, release_cache=release_cache)))

        yield Site(way, server, here, connect)


@pytest.fixture
def release(site: Site, monkeypatch: pytest.MonkeyPatch) -> Release:
    """Just published, of several blobs that nobody has asked for yet."""
    monkeypatch.setattr(blocks, "BLOCKS_PER_BLOB", 1)
    site.line.blobs.clear()
    encoded = encode({"head": next(WEIGHTS).random((3, 1 << 19), np.float32)}, BLOCKS)
    assert len(encoded.blobs) > 1
    put_blobs(site.learner, encoded)
    return site.learner.publish(manifest_of(encoded, POLICY), site.learner.claim_lease("learner"))


def hashes(release: Release) -> list[str]:
    return sorted(blob.hash for blob in release.blobs)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A hub that has `BLOB`."""
    with behind_http(HubOptions(directory=tmp_path / "hub"), Virtual()) as world:
        assert isinstance(world.hub, HttpHub)
        world.hub.put_blob(HASH, BLOB)
        yield world.hub.url


def fetched(site: Site, release: Release, place: Path) -> str:
    """What a courier on a host of its own has to complain of after it has installed the release, verified."""
    host, options, alarms = HostDirectory(place, RealDisk()), CourierOptions(poll_wall_s=5.0), Alarms()
    backoff = Backoff(options, np.random.default_rng(0))
    hub = site.connect(site.cache.url)
    Fetcher(host, hub, options=options, backoff=backoff, alarms=alarms, clock=Wall()).step()
    if host.current_version() == release.version:
        verify(release, from_safetensors(host.weights(release.version)))
        return alarms.text
    return alarms.text or "nothing was installed"


def damage(site: Site, hash: str) -> None:
    """Other bytes, of the same number, in the cache's file of the blob."""
    (file,) = (path for path in site.cache.kept() if hash.encode() in path.read_bytes()[:4096])
    data = bytearray(file.read_bytes())
    data[-1000] ^= 1
    file.write_bytes(data)


@contextmanager
def liar(body: bytes, times: int = 1) -> Iterator[tuple[str, list[int]]]:
    """A cache that answers everything with these bytes, so many times over; and how often they went to each caller."""
    written = list[int]()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(times * len(body)))
            self.end_headers()
            written.append(0)
            with suppress(ConnectionError):
                while written[-1] < times:
                    self.wfile.write(body)
                    written[-1] += 1

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", written
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.nginx
def test_a_release_crosses_the_line_once_however_many_couriers_want_it(
    site: Site, release: Release, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(COURIERS) as pool:
        said = list(pool.map(lambda number: fetched(site, release, tmp_path / f"host-{number}"), range(COURIERS)))
    assert said == [""] * COURIERS
    assert sorted(site.line.blobs) == hashes(release)
    assert fetched(site, release, tmp_path / "latecomer") == ""
    assert sorted(site.line.blobs) == hashes(release)


@pytest.mark.nginx
def test_what_is_damaged_in_the_cache_is_noticed_and_mended_there(site: Site, release: Release, tmp_path: Path) -> None:
    assert fetched(site, release, tmp_path / "first") == ""
    damage(site, hashes(release)[0])
    assert fetched(site, release, tmp_path / "second") == ""
    assert sorted(site.line.blobs) == sorted([*hashes(release), hashes(release)[0]])
    assert fetched(site, release, tmp_path / "third") == ""
    assert len(site.line.blobs) == len(hashes(release)) + 1


@pytest.mark.nginx
def test_the_rest_of_a_blob_is_asked_of_the_cache_too(site: Site, release: Release) -> None:
    entry, data = release.blobs[0], site.connect(None).get_blob(release.blobs[0])
    asked = len(site.line.blobs)
    for offset in (1000, len(data) - 1):
        said = httpx.get(
            f"{site.cache.url}/v1/blobs/{entry.hash}", headers={"Range": f"bytes={offset}-"}, trust_env=False
        )
        assert (said.status_code, said.content) == (206, data[offset:])
        assert said.headers["ETag"] == f'"{entry.hash}"'
    with line(site.cache.url) as cut, closing(HttpHub(AWAY, release_cache=cut.url)) as hub:
        cut.cut_down_after = len(data) // 2
        assert hub.get_blob(entry) == data
        assert len(cut.blobs) == 2
    assert len(site.line.blobs) == asked + 1


@pytest.mark.nginx
def test_the_cache_gives_blobs_alone_and_shows_the_hub_its_own_token(site: Site, release: Release) -> None:
    for path in ("/v1/releases/1", "/v1/fleet", "/v1/episodes", f"/v1/blobs/{hashes(release)[0]}/x", "/v1/blobs/x"):
        assert httpx.get(site.cache.url + path, trust_env=False).status_code == httpx.codes.NOT_FOUND, path
    sent = site.line.up
    put = httpx.put(f"{site.cache.url}/v1/blobs/{hashes(release)[0]}", content=b"", trust_env=False)
    assert put.status_code == httpx.codes.FORBIDDEN
    assert site.line.up == sent, "the hub is not even asked"
    assert site.line.blobs == []
    with closing(HttpHub(AWAY, release_cache=site.cache.url)) as without_token:
        assert blake3(without_token.get_blob(release.blobs[0])).hexdigest() == release.blobs[0].hash


@pytest.mark.nginx
def test_a_refusal_is_not_kept_by_the_cache(site: Site) -> None:
    data = b"published later"
    hash = blake3(data).hexdigest()
    hub = site.connect(site.cache.url)
    with pytest.raises(HubRefused, match="is not here"):
        hub.get_blob(BlobEntry(hash, len(data)))
    assert not any(hash.encode() in path.read_bytes() for path in site.cache.kept())


@pytest.mark.parametrize("body", [b"not what was asked for", b"", BLOB + b"and more"])
def test_a_cache_that_lies_only_costs_time(body: bytes, served: str) -> None:
    with liar(body) as (cache, _), closing(HttpHub(served, release_cache=cache)) as hub:
        assert hub.get_blob(ENTRY) == BLOB


def test_what_is_longer_than_the_blob_is_hung_up_on(served: str) -> None:
    with liar(b"x" * 1_000_000, times=500) as (longer, written):
        with closing(HttpHub(served, release_cache=longer)) as hub:
            assert hub.get_blob(ENTRY) == BLOB
        with closing(HttpHub(longer)) as hub:
            assert hub.get_blob(ENTRY) == b"x" * (len(BLOB) + 1)
    assert len(written) == 3  # the cache is asked again, afresh
    assert max(written) < 100  # sockets hold a few


def test_a_cache_that_is_away_is_gone_around_and_left_alone_for_a_while(served: str) -> None:
    with line(served) as cache, closing(HttpHub(served, release_cache=cache.url)) as hub:
        cache.cut_down_after = 0
        assert hub.get_blob(ENTRY) == BLOB
        asked = len(cache.blobs)
        assert asked
        assert hub.get_blob(ENTRY) == BLOB
        assert len(cache.blobs) == asked


def test_a_blob_that_is_nowhere_says_nothing_against_the_cache(served: str) -> None:
    with line(served) as cache, closing(HttpHub(served, release_cache=cache.url)) as hub:
        with pytest.raises(HubRefused, match="is not here"):
            hub.get_blob(BlobEntry("0" * 64, 1))
        assert hub.get_blob(ENTRY) == BLOB
        assert cache.blobs == ["0" * 64, HASH]


def test_with_cache_and_hub_away_the_courier_is_to_come_again() -> None:
    with closing(HttpHub(AWAY, release_cache=AWAY)) as hub, pytest.raises(HubUnavailable):
        hub.get_blob(ENTRY)
