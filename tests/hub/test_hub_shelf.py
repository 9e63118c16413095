"""Blobs that a fleet fetches are read from the disk once, are always whole, and take no more memory than is said."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from blake3 import blake3
from hub_world import World, behind_http, publish

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import HubRefused
from fleetloop.core.release import BlobEntry
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.releases.shelf import LARGEST, Shelf

BLOB = np.random.default_rng(1).bytes(300_000)
HASH = blake3(BLOB).hexdigest()
ENTRY = BlobEntry(HASH, len(BLOB))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with behind_http(HubOptions(directory=tmp_path / "hub"), Virtual(1000.0)) as world:
        world.hub.put_blob(HASH, BLOB)
        yield world


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    """Where the blob lies."""
    return tmp_path / "hub" / "blobs" / HASH


def test_a_fleet_reads_the_disk_once_until_the_next_release(world: World, file: Path) -> None:
    assert world.hub.get_blob(ENTRY) == BLOB
    file.unlink()
    assert world.hub.get_blob(ENTRY) == BLOB
    publish(world.hub)
    with pytest.raises(HubRefused) as refusal:
        world.hub.get_blob(ENTRY)
    assert refusal.value.status == 404


def test_what_is_held_is_told_as_what_lies_on_the_disk(world: World, file: Path) -> None:
    assert isinstance(world.hub, HttpHub)
    url = f"{world.hub.url}/v1/blobs/{HASH}"
    read, held = (httpx.get(url, trust_env=False) for _ in range(2))
    assert read.content == held.content == BLOB
    part = httpx.get(url, headers={"Range": "bytes=10-19"}, trust_env=False)
    assert (part.status_code, part.content) == (206, BLOB[10:20])
    head = httpx.head(url, trust_env=False)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(BLOB)))
    for name in ("ETag", "Cache-Control", "Accept-Ranges", "Content-Type"):
        assert held.headers[name] == part.headers[name], name


def test_damaged_bytes_are_not_held(world: World, file: Path) -> None:
    file.write_bytes(b"x" * len(BLOB))
    assert world.hub.get_blob(ENTRY) != BLOB
    world.hub.put_blob(HASH, BLOB)
    assert world.hub.get_blob(ENTRY) == BLOB


def test_what_is_too_large_comes_from_the_disk(world: World, tmp_path: Path) -> None:
    large = bytes(LARGEST + 1)
    hash = blake3(large).hexdigest()
    world.hub.put_blob(hash, large)
    assert world.hub.get_blob(BlobEntry(hash, len(large))) == large
    assert world.service.publishing.shelf.held(hash) is None


def test_a_full_shelf_takes_no_more_until_it_is_cleared(tmp_path: Path) -> None:
    shelf, paths = Shelf(room=10), dict[str, Path]()
    for data in (b"sixsix", b"fives", b"four"):
        path = paths[blake3(data).hexdigest()] = tmp_path / data.decode()
        path.write_bytes(data)
    six, five, four = paths
    assert [shelf.take(hash, paths[hash]) for hash in paths] == [b"sixsix", None, b"four"]
    assert [shelf.held(hash) for hash in paths] == [b"sixsix", None, b"four"]
    shelf.clear()
    assert shelf.held(six) is None
    assert [shelf.take(hash, paths[hash]) for hash in (five, four)] == [b"fives", b"four"]
