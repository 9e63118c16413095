"""The delta graph: from whatever a robot has to the newest release, by the quickest way, bit for bit or not at all."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from drawn import Arrays, near, same
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetloop.core.errors import HubRefused, HubUnavailable, ReleaseInvalid
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.weights.codec import BLOCKS, Encoded, encode
from fleetloop.weights.ladder import ANCHOR_EVERY, Ladder
from fleetloop.weights.route import BYTES_PER_S, DECODED_PER_S, obtain
from fleetloop.weights.verified import Known


class Shelf:
    """Published releases, encoded as a learner does it; what is lost raises as a hub would."""

    def __init__(self) -> None:
        self.releases: dict[int, Release] = {}
        self.weights: dict[int, Known] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[int] = []
        self.ladder = Ladder()
        self._state = {name: np.array(array, np.float32) for name, array in near(1024)[0].items()}
        self._rng = np.random.default_rng(0)

    def publish(self) -> Release:
        self._state = {name: self._moved(array) for name, array in self._state.items()}
        kinds = near(64)[0]
        weights = Known.of({name: array.astype(kinds[name].dtype) for name, array in self._state.items()})
        version = len(self.releases) + 1
        ways = self.ladder.encode(weights, version)
        self.ladder.keep(version, weights)
        for _, way in ways:
            self.blobs.update(way.blobs)
        self.weights[version] = weights
        self.releases[version] = manifest(version, weights, tuple(way.encoding(base) for base, way in ways))
        return self.releases[version]

    def _moved(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return array + self._rng.normal(0, 1e-4, array.shape).astype(np.float32)

    def release(self, version: int) -> Release:
        self.asked.append(version)
        if version not in self.releases:
            raise HubRefused("release", f"there is no release {version}", status=404)
        return self.releases[version]

    def get_blob(self, blob: BlobEntry) -> bytes:
        if blob.hash not in self.blobs:
            raise HubRefused("blob", "is not here", status=404)
        return self.blobs[blob.hash]


def manifest(version: int, weights: Known, encodings: tuple[Encoding, ...]) -> Release:
    nothing: dict[str, Any] = dict.fromkeys(("run", "spec_hash", "config_hash", "statistics_hash"), "")
    return Release(
        **nothing,
        policy={},
        spec={},
        step=version,
        parent=0,
        trained_through=0,
        conditions=(),
        tensors=weights.tensors,
        encodings=encodings,
        result_hash=weights.result_hash,
        clock_s=0.0,
        version=version,
    )


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    """Forty releases."""
    shelf = Shelf()
    for _ in range(40):
        shelf.publish()
    return shelf


def fresh(shelf: Shelf) -> Shelf:
    copy = Shelf()
    copy.releases, copy.weights, copy.blobs = dict(shelf.releases), shelf.weights, dict(shelf.blobs)
    return copy


def test_from_any_release_to_any_later_one_in_few_hops(shelf: Shelf) -> None:
    for have in range(1, 41):
        for want in range(have + 1, 41, 5):
            got = obtain(shelf.releases[want], shelf, shelf.weights[have], have)
            assert same(got.weights, shelf.weights[want].weights)
            assert got.hops <= 3 + 3 + 2


def test_from_nothing_it_is_an_anchor_and_a_hop(shelf: Shelf) -> None:
    for want in range(1, 41):
        got = obtain(shelf.releases[want], shelf)
        assert same(got.weights, shelf.weights[want].weights)
        assert got.hops <= 2


def test_who_missed_nothing_asks_for_no_other_manifest_and_fetches_a_small_part(shelf: Shelf) -> None:
    shelf.asked.clear()
    got = obtain(shelf.releases[24], shelf, shelf.weights[23], 23)
    assert shelf.asked == []
    assert got.hops == 1
    assert got.bytes < obtain(shelf.releases[16], shelf).bytes / 2


def ways(shelf: Shelf, have: int, want: int) -> Iterator[tuple[int, int]]:
    """(bytes, hops) of every way there is."""
    if want in (have, 0):
        yield 0, 0
        return
    for encoding in shelf.releases[want].encodings:
        for size, hops in ways(shelf, have, encoding.base):
            yield size + encoding.size, hops + 1


@pytest.mark.parametrize("bytes_per_s", [1e3, BYTES_PER_S, 1e12])
@pytest.mark.parametrize(("have", "want"), [(17, 23), (13, 22), (3, 9), (1, 12)])
def test_the_quickest_of_all_ways_is_taken(shelf: Shelf, have: int, want: int, bytes_per_s: float) -> None:
    hop = sum(array.nbytes for array in shelf.weights[want].weights.values()) / DECODED_PER_S
    got = obtain(shelf.releases[want], shelf, shelf.weights[have], have, bytes_per_s=bytes_per_s)
    quickest = min(size / bytes_per_s + hop * hops for size, hops in ways(shelf, have, want))
    assert got.bytes / bytes_per_s + hop * got.hops == pytest.approx(quickest)


def test_a_slow_line_gets_the_fewest_bytes_and_a_fast_one_the_fewest_hops(shelf: Shelf) -> None:
    slow, fast = (obtain(shelf.releases[9], shelf, shelf.weights[3], 3, bytes_per_s=speed) for speed in (1e3, 1e12))
    every = list(ways(shelf, 3, 9))
    assert slow.bytes == min(size for size, _ in every) < fast.bytes
    assert fast.hops == min(hops for _, hops in every) < slow.hops


def test_anchors_come_every_so_often_and_deltas_otherwise(shelf: Shelf) -> None:
    alone = [version for version, release in shelf.releases.items() if any(way.base == 0 for way in release.encodings)]
    assert alone == [1, *range(ANCHOR_EVERY, 41, ANCHOR_EVERY)]
    assert sorted(way.base for way in shelf.releases[39].encodings) == [32, 36, 38]


def test_a_rollback_is_obtained_too(shelf: Shelf) -> None:
    got = obtain(shelf.releases[20], shelf, shelf.weights[33], 33)
    assert same(got.weights, shelf.weights[20].weights)


def test_a_damaged_delta_is_gone_around(shelf: Shelf) -> None:
    shelf = fresh(shelf)
    for way in shelf.releases[24].encodings:
        if way.base != 16:
            for blob in way.blobs:
                shelf.blobs[blob.hash] = bytes(blob.size)
    got = obtain(shelf.releases[24], shelf, shelf.weights[23], 23)
    assert same(got.weights, shelf.weights[24].weights)


def test_a_base_that_is_not_what_its_version_says_is_gone_around(shelf: Shelf) -> None:
    """The hub began anew and counts from 1 again, or the robot's disk changed a bit."""
    for have in (
        shelf.weights[22],
        Known(shelf.weights[22].weights, shelf.weights[23].tensors, shelf.weights[23].result_hash),
    ):
        got = obtain(shelf.releases[24], shelf, have, 23)
        assert same(got.weights, shelf.weights[24].weights)


def test_when_no_way_is_left_the_reason_is_said(shelf: Shelf) -> None:
    shelf = fresh(shelf)
    del shelf.releases[16], shelf.releases[20], shelf.releases[23]
    with pytest.raises(ReleaseInvalid, match="release 24 from here; it stands on 23, 20, 16"):
        obtain(shelf.releases[24], shelf)
    shelf.blobs.clear()
    with pytest.raises(HubRefused, match="blob: is not here"):
        obtain(shelf.releases[24], shelf, shelf.weights[23], 23)


def test_a_hub_that_is_away_is_no_reason_to_go_around(shelf: Shelf) -> None:
    shelf = fresh(shelf)

    def away(hash: str) -> bytes:
        raise HubUnavailable("hub", "is away")

    shelf.get_blob = away  # type: ignore[method-assign]
    with pytest.raises(HubUnavailable):
        obtain(shelf.releases[24], shelf, shelf.weights[23], 23)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_lost_a_robot_ends_bit_identical_or_says_why_not(shelf: Shelf, data: st.DataObject) -> None:
    shelf = fresh(shelf)
    versions = st.integers(1, 40)
    for version in data.draw(st.sets(versions, max_size=12), "lost manifests"):
        shelf.releases.pop(version)
    for hash in data.draw(st.sets(st.sampled_from(sorted(shelf.blobs)), max_size=20), "lost blobs"):
        shelf.blobs.pop(hash)
    for hash in data.draw(st.sets(st.sampled_from(sorted(shelf.blobs)), max_size=20), "damaged blobs"):
        shelf.blobs[hash] = shelf.blobs[hash][:-1] + b"?"
    have = 0
    for want in data.draw(st.lists(versions, min_size=1, max_size=4), "channel"):
        if want not in shelf.releases:
            continue
        if data.draw(st.booleans(), "restarts with an empty disk"):
            have = 0
        try:
            got = obtain(shelf.releases[want], shelf, shelf.weights.get(have), have)
        except (ReleaseInvalid, HubRefused):
            continue
        assert same(got.weights, shelf.weights[want].weights)
        have = want


def test_small_weights_that_changed_altogether_carry_no_delta() -> None:
    ladder, rng = Ladder(), np.random.default_rng(0)

    def strangers() -> Known:
        return Known.of({"a": rng.normal(0, 1, 300).astype(np.float32)})

    for version in (1, 2, 3):
        weights = strangers()
        ways = ladder.encode(weights, version)
        ladder.keep(version, weights)
        assert [base for base, _ in ways] == [0]
        assert ways[0][1].size < 4 * 300 + 200


def test_another_architecture_begins_with_an_anchor() -> None:
    ladder = Ladder()
    ladder.keep(1, Known.of(near(512)[0]))
    other: Arrays = {"another": np.zeros(5, np.float32)}
    ways: list[tuple[int, Encoded]] = ladder.encode(Known.of(other), 2)
    assert [base for base, _ in ways] == [0]
    assert encode(other, BLOCKS).blobs == ways[0][1].blobs
