"""Downloads that break off: the next courier goes on, and trusts nothing that it finds."""

import dataclasses

import numpy as np
import pytest
from stepped import OPTIONS

from fleetloop.core.clock import Virtual
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher


@pytest.fixture
def begun(courier):
    """A release of which 40 bytes have come when the courier ended; and the next courier."""
    courier.manifest = courier.hub.publish(1, 1.0)
    courier.hub.cut_after = 40
    courier.fetcher.step()
    assert "hung up" in courier.alarms.text
    courier.hub.cut_after, courier.hub.fetched = None, 0
    courier.fetcher = Fetcher(
        courier.host,
        courier.hub,
        options=OPTIONS,
        backoff=Backoff(OPTIONS, np.random.default_rng(0)),
        alarms=courier.alarms,
        clock=Virtual(),
    )
    return courier


def kept(courier):
    return {path.name: path.stat().st_size for path in courier.host.downloads.iterdir()}


def test_the_next_courier_fetches_the_rest_alone(begun):
    (blob,) = begun.manifest.blobs
    assert kept(begun) == {blob.hash: 40}
    begun.fetcher.step()
    assert begun.host.current_version() == 1
    assert begun.hub.fetched == blob.size - 40
    assert kept(begun) == {}


def test_what_had_come_whole_is_not_fetched_again(begun):
    (blob,) = begun.manifest.blobs
    (begun.host.downloads / blob.hash).write_bytes(begun.hub.blobs[blob.hash])
    begun.fetcher.step()
    assert (begun.host.current_version(), begun.hub.fetched) == (1, 0)


@pytest.mark.parametrize("torn", [bytes(40), bytes(10_000)])
def test_what_a_power_cut_has_torn_is_fetched_anew(begun, torn):
    (blob,) = begun.manifest.blobs
    (begun.host.downloads / blob.hash).write_bytes(torn)
    begun.fetcher.step()
    assert begun.host.current_version() == 1


def test_other_bytes_than_the_hash_says_are_kept_by_nobody(begun):
    (blob,) = begun.manifest.blobs
    begun.hub.blobs[blob.hash] = bytes(blob.size)
    begun.fetcher.step()
    assert "other bytes than its hash says" in begun.alarms.text
    assert (begun.host.versions(), kept(begun)) == ([], {})


def test_a_name_that_is_no_hash_names_no_file(begun):
    path = begun.host.root / "spool" / "theirs"
    blob = dataclasses.replace(begun.manifest.blobs[0], hash="../spool/theirs")
    encoding = dataclasses.replace(begun.manifest.encodings[0], blobs=(blob,))
    begun.hub.blobs[blob.hash] = b"anything"
    begun.hub.stable = dataclasses.replace(begun.manifest, encodings=(encoding,))
    begun.fetcher.step()
    assert "named by no hash" in begun.alarms.text
    assert not path.exists()


def test_what_is_left_of_releases_that_never_came_takes_no_more_room_than_one(begun):
    for number in range(50):
        (begun.host.downloads / f"{number:064x}").write_bytes(bytes(100))
    begun.hub.cut_after = 40
    begun.fetcher.step()
    (blob,) = begun.manifest.blobs
    assert sum(kept(begun).values()) <= 4 + blob.size + 40
