"""Blobs over lines that break, and what a cache on the way is told. Real sockets."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from blake3 import blake3
from hub_world import behind_http

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import GaveWay, HubRefused, HubUnavailable
from fleetloop.core.release import BlobEntry
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions

BLOB = np.random.default_rng(0).bytes(3_000_000)
HASH = blake3(BLOB).hexdigest()
ENTRY = BlobEntry(HASH, len(BLOB))


@pytest.fixture
def options(tmp_path: Path) -> HubOptions:
    """A hub that hands its blobs out itself; from a bucket they come by links of its store."""
    return HubOptions(directory=tmp_path / "hub")


class Line:
    """A way to the hub that is cut after so many bytes down; the last allowance holds for good."""

    def __init__(self, port: int, allowances: list[int]) -> None:
        self.port, self.allowances, self.asked = port, allowances, list[bytes]()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            left = self.allowances.pop(0) if len(self.allowances) > 1 else self.allowances[0]
            with near, socket.create_connection(("127.0.0.1", self.port)) as far:
                request = near.recv(65536)
                self.asked.append(request)
                far.sendall(request)
                while left > 0 and (data := far.recv(min(left, 65536))):
                    near.sendall(data)
                    left -= len(data)


@contextmanager
def line(options: HubOptions, allowances: list[int]) -> Iterator[tuple[Line, HttpHub]]:
    with behind_http(options, Virtual()) as world:
        world.hub.put_blob(HASH, BLOB)
        assert isinstance(world.hub, HttpHub)
        made = Line(httpx.URL(world.hub.url).port or 0, allowances)
        with closing(made.listener), closing(HttpHub(made.url)) as hub:
            yield made, hub


def test_after_a_break_only_the_rest_is_asked_for(options: HubOptions) -> None:
    with line(options, [1_000_000, 1_000_000, 10**9]) as (made, hub):
        assert hub.get_blob(ENTRY) == BLOB
    offsets = [b"range: bytes=" in request.lower() for request in made.asked]
    assert offsets == [False, True, True]
    first = int(made.asked[1].lower().split(b"range: bytes=")[1].split(b"-")[0])
    assert 900_000 < first <= 1_000_000


def test_a_file_that_was_begun_gets_the_rest(options: HubOptions) -> None:
    with line(options, [10**9]) as (made, hub):
        file = BytesIO()
        file.write(BLOB[:2_000_000])
        hub.fetch_blob(ENTRY, file)
        assert file.getvalue() == BLOB
        assert b"range: bytes=2000000-" in made.asked[0].lower()
        with closing(HttpHub(made.url)) as again, pytest.raises(HubRefused) as refusal:
            again.fetch_blob(ENTRY, file)
        assert refusal.value.status == 416
        assert file.getvalue() == BLOB


def test_a_line_that_lets_nothing_through_is_a_hub_that_is_away(options: HubOptions) -> None:
    with line(options, [500_000, 0]) as (made, hub), pytest.raises(HubUnavailable):
        hub.get_blob(ENTRY)
    assert len(made.asked) <= 4, "it does not try for ever by itself; the courier comes again after a pause"


def test_a_cache_on_the_way_may_keep_a_blob_for_good(options: HubOptions) -> None:
    with behind_http(options, Virtual()) as world:
        world.hub.put_blob(HASH, BLOB)
        assert isinstance(world.hub, HttpHub)
        said = httpx.get(f"{world.hub.url}/v1/blobs/{HASH}", headers={"Range": "bytes=10-19"}, trust_env=False)
    assert (said.status_code, said.content) == (206, BLOB[10:20])
    assert said.headers["ETag"] == f'"{HASH}"'
    assert "immutable" in said.headers["Cache-Control"]
    assert said.headers["Accept-Ranges"] == "bytes"


def test_one_that_is_called_off_stops_where_it_is_and_goes_on_from_there(options: HubOptions) -> None:
    with behind_http(options, Virtual()) as world:
        world.hub.put_blob(HASH, BLOB)
        file = BytesIO()
        with pytest.raises(GaveWay):
            world.hub.fetch_blob(ENTRY, file, gives_way=lambda: file.tell() > 1_000_000)
        assert 1_000_000 < file.tell() < len(BLOB)
        world.hub.fetch_blob(ENTRY, file)
        assert file.getvalue() == BLOB
