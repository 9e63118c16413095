"""Blobs that come in while others are decoded or made: in order, a bounded number of them, and no error is lost."""

import threading
import time

import numpy as np
import pytest
from drawn import near, same

from fleetloop.core.errors import HubUnavailable
from fleetloop.core.release import BlobEntry, Encoding
from fleetloop.weights import blocks
from fleetloop.weights.ahead import ahead
from fleetloop.weights.codec import BLOCKS, decode_tensors, encode
from fleetloop.weights.errors import BlobDamaged
from fleetloop.weights.verified import Known


@pytest.fixture
def small_blobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCKS_PER_BLOB", 1)
    monkeypatch.setitem(blocks.encode.__kwdefaults__, "block_bits", 8)


@pytest.mark.parametrize(("threads", "most"), [(0, 0), (1, 1), (3, 3), (3, 7), (50, 100)])
def test_results_come_in_order(threads: int, most: int) -> None:
    with ahead(lambda number: number * number, range(20), threads, most=most) as results:
        assert list(results) == [number * number for number in range(20)]


def test_what_nobody_takes_is_left_undone() -> None:
    begun = list[int]()

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)  # it is work that takes a while: all of it 50 s, long after it was given up

    with ahead(work, range(5_000), 1, most=5_000) as results:
        next(results)
    assert len(begun) < 5_000


def test_no_more_are_under_way_than_allowed_and_the_first_begin_at_once() -> None:
    begun, third = list[int](), threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if len(begun) == 3:
            third.set()
        return number

    with ahead(work, range(100), 3, most=5) as results:
        assert third.wait(10), "they begin before anybody asks"
        for taken in range(10):
            assert len(begun) <= taken + 5
            assert next(results) == taken
    assert len(begun) <= 15


def test_one_at_a_time_nothing_begins_before_it_is_asked_for() -> None:
    begun = list[int]()
    with ahead(begun.append, range(5), 0, most=0) as results:
        assert begun == []
        next(results)
        assert begun == [0]


@pytest.mark.usefixtures("small_blobs")
@pytest.mark.parametrize("at_once", [0, 3])
def test_weights_whose_blobs_come_at_the_same_time_are_the_same(at_once: int) -> None:
    old, new = near(4000)
    base = Known.of(old)
    encoded = encode(new, BLOCKS, base)
    assert len(encoded.blobs) > 10
    under_way, most, lock = 0, 0, threading.Lock()
    several = threading.Barrier(3)

    def fetch(blob: BlobEntry) -> bytes:
        nonlocal under_way, most
        with lock:
            under_way, most = under_way + 1, max(most, under_way + 1)
        if at_once and blob.hash in list(encoded.blobs)[:3]:
            several.wait(10)
        with lock:
            under_way -= 1
        return encoded.fetch(blob)

    got = decode_tensors(encoded.tensors, encoded.result_hash, fetch, encoded.encoding(), base, at_once=at_once)
    assert same(dict(got), new)
    assert most == max(at_once, 1)


@pytest.mark.usefixtures("small_blobs")
@pytest.mark.parametrize("at_once", [0, 3])
def test_a_damaged_blob_and_a_hub_that_is_away_are_said_whenever_they_come(at_once: int) -> None:
    old, new = near(4000)
    base = Known.of(old)
    encoded = encode(new, BLOCKS, base)
    names = list(encoded.blobs)

    def damaged(blob: BlobEntry) -> bytes:
        return encoded.fetch(blob)[:-1] + b"?" if blob.hash == names[7] else encoded.fetch(blob)

    def away(blob: BlobEntry) -> bytes:
        if blob.hash == names[-1]:
            raise HubUnavailable("hub", "is away")
        return encoded.fetch(blob)

    ways: tuple[tuple[object, type[Exception]], ...] = ((damaged, BlobDamaged), (away, HubUnavailable))
    for fetch, error in ways:
        with pytest.raises(error):
            decode_tensors(
                encoded.tensors,
                encoded.result_hash,
                fetch,  # type: ignore[arg-type]
                Encoding(encoded.codec, 1, encoded.encoding().blobs),
                base,
                at_once=at_once,
            )


@pytest.mark.usefixtures("small_blobs")
def test_blobs_are_handed_over_before_all_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made, put, when = list[int](), list[str](), list[int]()
    real = blocks.block.encode

    def counted(*given: object) -> tuple[int, bytes]:
        made.append(1)
        if len(made) > 20:
            assert first_is_put.wait(10), "the first blob is put while others are made"
        return real(*given)  # type: ignore[arg-type]

    first_is_put = threading.Event()
    monkeypatch.setattr(blocks.block, "encode", counted)

    def taken(hash: str, data: bytes) -> None:
        put.append(hash)
        when.append(len(made))
        first_is_put.set()

    new = {"w": np.random.default_rng(0).integers(0, 1 << 16, 256 * 60, np.uint16)}
    encoded = encode(new, BLOCKS, put=taken)
    assert put == list(encoded.blobs)
    assert when[0] < 60


@pytest.mark.usefixtures("small_blobs")
def test_when_nobody_takes_the_blobs_the_rest_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[int]()
    real = blocks.block.encode

    def counted(*given: object) -> tuple[int, bytes]:
        made.append(1)
        if len(made) > 20:
            time.sleep(0.01)  # it takes a while: all of it 25 s and more, long after it was given up
        return real(*given)  # type: ignore[arg-type]

    def away(hash: str, data: bytes) -> None:
        raise HubUnavailable("hub", "is away")

    monkeypatch.setattr(blocks.block, "encode", counted)
    new = {"w": np.zeros(256 * 5_000, np.uint16)}
    with pytest.raises(HubUnavailable):
        encode(new, BLOCKS, put=away)
    assert len(made) < 5_000
