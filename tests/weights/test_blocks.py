"""The codec `blocks/1`: bit for bit, few bytes, the same bytes with and without compiled code, and deaf to damage."""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import zstandard
from drawn import Arrays, near, pairs, same
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.release import TensorEntry
from fleetloop.weights import block, blocks, kernels_numba, kernels_numpy, streams, tokens
from fleetloop.weights.block import FAST, SMALL, Profile
from fleetloop.weights.errors import (
    BaseMismatch,
    BaseMissing,
    BlobDamaged,
    CodecUnknown,
    NameRefused,
    TensorMismatch,
    TooLarge,
)
from fleetloop.weights.verified import Known, verify_tensors

PROFILES = st.sampled_from([SMALL, FAST])
HEAD = 48  # bytes; docs/reference/release-format.md


def there_and_back(old: Arrays | None, new: Arrays, profile: Profile = SMALL, block_bits: int = 20) -> list[bytes]:
    base, known = Known.of(old) if old is not None else None, Known.of(new)
    blobs = list(blocks.encode(known.tensors, new, base, profile, block_bits=block_bits))
    assert same(blocks.decode(known.tensors, blobs, base), new)
    return blobs


@settings(max_examples=60, deadline=None)
@given(pairs(), PROFILES, st.sampled_from([4, 8, 20]))
def test_any_bits_come_back(pair: tuple[Arrays, Arrays], profile: Profile, block_bits: int) -> None:
    old, new = pair
    there_and_back(old, new, profile, block_bits)
    there_and_back(None, new, profile, block_bits)


def test_every_distance_between_16_bit_floats_comes_back() -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    for dtype in (ml_dtypes.bfloat16, np.float16):
        for seed in range(3):
            other = np.random.default_rng(seed).permutation(every)
            there_and_back({"a": every.view(dtype)}, {"a": other.view(dtype)})


def test_many_blobs_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCKS_PER_BLOB", 3)
    old, new = near(4000)
    blobs = there_and_back(old, new, block_bits=8)
    assert len(blobs) > 5
    known = Known.of(new)
    for wrong in (blobs[1:], blobs[:-1], blobs[::-1], [*blobs, blobs[-1]], []):
        with pytest.raises(BlobDamaged):
            blocks.decode(known.tensors, wrong, Known.of(old))


def test_a_delta_is_near_the_conditional_entropy_and_never_longer_than_the_planes() -> None:
    old, new = near(1 << 18, rate=1e-4)
    delta, full = (sum(map(len, there_and_back(base, new))) for base in (old, None))
    assert delta < 1.03 * conditional_entropy(old, new)
    assert delta < full / 3
    strange, other = near(1 << 14, seed=6)[0], near(1 << 14)[0]
    assert sum(map(len, there_and_back(strange, other))) <= sum(map(len, there_and_back(None, other)))


def conditional_entropy(old: Arrays, new: Arrays) -> float:
    """Bytes that distances take at least, if only the old exponents are known."""
    rows = [
        np.concatenate([weights[name].reshape(-1) for name in ("body.weight", "body.bias", "head.weight")])
        for weights in (old, new)
    ]
    bits, far = rows[0].view(np.uint16), kernels_numpy.distances(*(row.view(np.uint16) for row in rows))
    pairs, counts = np.unique(((bits >> 7) & 255).astype(np.int64) << 16 | far, return_counts=True)
    exponents = np.unique(pairs >> 16, return_inverse=True)[1]
    return float(-(counts * np.log2(counts / np.bincount(exponents, counts)[exponents])).sum() / 8)


def test_what_did_not_change_takes_no_bytes() -> None:
    _, new = near(1 << 16)
    assert sum(map(len, there_and_back(new, new))) < 100


def test_a_scalar_and_an_empty_tensor_come_back() -> None:
    there_and_back(None, {"a": np.array(3.5, np.float32), "b": np.zeros((0, 4), ml_dtypes.bfloat16)})
    there_and_back(None, {})


@pytest.mark.parametrize("compiled", [False, True])
def test_a_word_that_is_wrong_lost_or_too_many_is_damage(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noticed where it is, before any hash is worked out."""
    monkeypatch.setattr(block, "COMPILED_FROM", 1 if compiled else 1 << 30)
    old, new = (weights["body.weight"].reshape(-1).view(np.uint16) for weights in near(1 << 14))
    _, payload = block.encode("bfloat16", old, new, SMALL)
    flipped = payload[:-40] + bytes([payload[-40] ^ 1]) + payload[-39:]
    for wrong in (flipped, payload[:-4], payload + bytes(4), payload[:-1]):
        with pytest.raises(BlobDamaged, match=r"even|head"):
            block.decode(block.DELTA, wrong, "bfloat16", old, np.empty_like(new))


@pytest.mark.parametrize("kernels", [kernels_numpy, kernels_numba])
def test_the_inner_loops_undo_themselves(kernels: Any) -> None:
    rng = np.random.default_rng(0)
    old, new = rng.integers(0, 1 << 16, (2, 3001), np.uint16)
    new[:2000] = old[:2000] + rng.integers(0, 3, 2000, np.uint16)
    far = kernels.distances(old, new)
    model = tokens.fit(kernels.count(old, far, 7, 1), 200, every_token=False)
    states, words = kernels.encode(old, far, 7, model, 32)
    found = np.empty_like(far)
    assert kernels.decode(old, states.copy(), words, 7, model, found)
    assert (found == far).all()
    kernels.apply(old, found)
    assert (found == new).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([7, 10]), st.sampled_from([1, 8]), st.integers(1, 2000))
def test_compiled_and_plain_give_the_same_bytes(seed: int, mantissa_bits: int, stride: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    old, new = rng.integers(0, 1 << 16, (2, size), np.uint16)
    near_by = rng.random(size) < rng.random()
    new[near_by] = old[near_by] + rng.integers(0, 2 + seed % 9, near_by.sum(), np.uint16)
    results = []
    for kernels in (kernels_numpy, kernels_numba):
        far = kernels.distances(old, new)
        counts = kernels.count(old, far, mantissa_bits, stride)
        counts[0, tokens.TOKEN[far.max()]] += 1
        model = tokens.fit(counts, 64, every_token=stride > 1)
        coded = kernels.encode(old, far, mantissa_bits, model, 32)
        results.append([part.tobytes() for part in (far, counts, *coded)])
    assert results[0] == results[1]


def test_without_numba_the_blobs_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = near(1 << 15)
    monkeypatch.setattr(block, "COMPILED_FROM", 1)
    compiled = there_and_back(old, new)
    monkeypatch.setattr(block, "COMPILED", False)
    assert there_and_back(old, new) == compiled


def test_a_base_that_is_missing_or_another_is_named() -> None:
    old, new = near(512)
    known, blobs = Known.of(new), there_and_back(old, new)
    with pytest.raises(BaseMissing, match="none are given"):
        blocks.decode(known.tensors, blobs, None)
    with pytest.raises(BaseMismatch, match=known.result_hash[:12]):
        blocks.decode(known.tensors, blobs, known)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.update({"body.bias2": weights.pop("body.bias")}),
        lambda weights: weights.update({"body.bias": weights["body.bias"].reshape(2, 4)}),
        lambda weights: weights.update({"body.bias": weights["body.bias"].view(np.float16)}),
        lambda weights: weights.pop("body.bias"),
    ],
    ids=["renamed", "reshaped", "retyped", "gone"],
)
def test_a_base_with_other_tensors_is_named(change: Callable[[Arrays], Any]) -> None:
    old, new = near(512)
    blobs, known = there_and_back(old, new), Known.of(new)
    other = dict(old)
    change(other)
    with pytest.raises(TensorMismatch, match=r"tensor body\.bias"):
        blocks.encode(known.tensors, new, Known.of(other))
    with pytest.raises(TensorMismatch, match=r"tensor body\.bias"):
        blocks.decode(known.tensors, blobs, Known.of(other))


NAMES = ["", "/etc/passwd", "../a", "a/../../b", "~root", "a\\b", "a\0b", "a\nb", "__metadata__"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_be_a_path_or_a_command_is_refused(name: str) -> None:
    with pytest.raises(NameRefused):
        streams.check([TensorEntry(name, "float32", (1,), "0" * 64)])


@pytest.mark.parametrize(
    ("new", "error"),
    [
        ({"../a": np.zeros(3, np.float32)}, NameRefused),
        ({"a": np.zeros(3, np.complex64)}, TensorMismatch),
        ({"a": np.broadcast_to(np.float32(0), (1 << 35,))}, TooLarge),  # takes no memory
    ],
    ids=["name", "type", "size"],
)
def test_what_nobody_could_decode_is_not_encoded(new: Arrays, error: type[ReleaseInvalid]) -> None:
    """Whoever keeps the blobs alone would have lost the weights."""
    tensors = [TensorEntry(name, array.dtype.name, array.shape, "") for name, array in new.items()]
    with pytest.raises(error, match="tensor "):
        blocks.encode(tensors, new, None)


def test_sizes_are_checked_before_anything_is_allocated() -> None:
    tensors = [TensorEntry("a", "float32", (1 << 40,), "0" * 64)]
    with pytest.raises(TooLarge, match="tensor a"):
        blocks.decode(tensors, [], None)
    for wrong in (TensorEntry("a", "float32", (-1,), ""), TensorEntry("a", "float128", (1,), "")):
        with pytest.raises(TensorMismatch):
            streams.check([wrong])
    with pytest.raises(TensorMismatch, match="twice"):
        streams.check([TensorEntry("a", "bool", (1,), "")] * 2)


def test_a_bomb_is_not_unpacked() -> None:
    """A frame that claims more than its block has is refused by its claim; nothing of it is made."""
    new = {"a": np.arange(16, dtype=np.float32)}
    known = Known.of(new)
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 26))
    blob = bytearray(there_and_back(None, new)[0][:HEAD]) + struct.pack("<BI", block.PLANES, len(bomb)) + bomb
    with pytest.raises(BlobDamaged, match="does not claim to unpack to 64 bytes"):
        blocks.decode(known.tensors, [bytes(blob)], None)


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [(0, 1, CodecUnknown), (4, 9, CodecUnknown), (5, 8, BlobDamaged), (6, 1, BlobDamaged), (8, 1, BlobDamaged),
     (12, 200, BlobDamaged), (16, 1, BaseMismatch), (HEAD, 77, BlobDamaged)],
)  # fmt: skip
def test_each_part_of_the_head_is_checked(at: int, value: int, error: type[ReleaseInvalid]) -> None:
    old, new = near(512)
    blob = bytearray(there_and_back(old, new)[0])
    blob[at] ^= value
    with pytest.raises(error):
        blocks.decode(Known.of(new).tensors, [bytes(blob)], Known.of(old))


@pytest.fixture(scope="module")
def sound() -> tuple[Known, Known, bytes, bytes]:
    """A base, new weights with every mode of block, the blob from the base, and one that stands alone."""
    old, new = near(2048, rate=3e-4)
    old["noise"] = np.random.default_rng(1).integers(0, 1 << 16, 40, np.uint16).view(ml_dtypes.bfloat16)
    new["noise"] = old["noise"][::-1].copy()
    base, known = Known.of(old), Known.of(new)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCKS_PER_BLOB", 64)
        (delta,), (alone,) = (blocks.encode(known.tensors, new, given, block_bits=9) for given in (base, None))
    return base, known, delta, alone


def is_refused(sound: tuple[Known, Known, bytes, bytes], seed: int) -> bool:
    """Damage a blob in one of several ways: a typed error, here or by the tensors' hashes, or no harm at all."""
    base, known, delta, alone = sound
    rng = np.random.default_rng(seed)
    blob, given = (bytearray(delta), base) if rng.random() < 0.8 else (bytearray(alone), None)
    start, size = int(rng.integers(len(blob))), int(rng.integers(1, 40))
    match rng.integers(6):
        case 0:
            blob[start] ^= 1 << rng.integers(8)
        case 1:
            del blob[start:]
        case 2:
            del blob[start : start + size]
        case 3:
            blob[start : start + size] = rng.bytes(len(blob[start : start + size]))
        case 4:
            blob[start:start] = rng.bytes(size)
        case 5:
            blob[int(rng.integers(HEAD, HEAD + 200))] = int(rng.integers(256))
    try:
        verify_tensors(known.tensors, known.result_hash, blocks.decode(known.tensors, [bytes(blob)], given, threads=1))
    except ReleaseInvalid:
        return True
    return False  # a spare bit of a zstd frame, the bound of a class that no value is in


def test_damage_is_refused(sound: tuple[Known, Known, bytes, bytes]) -> None:
    assert sum(is_refused(sound, seed) for seed in range(500)) > 490


@pytest.mark.long
@pytest.mark.parametrize("compiled", [False, True])
def test_much_damage_is_refused(
    sound: tuple[Known, Known, bytes, bytes], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "COMPILED_FROM", 1 if compiled else 1 << 30)
    assert sum(is_refused(sound, seed) for seed in range(1000, 11_000)) > 9800


def test_a_tensor_that_is_retyped_in_the_manifest_is_noticed(sound: tuple[Known, Known, bytes, bytes]) -> None:
    base, known, delta, _ = sound
    tensors = tuple(replace(entry, dtype="float16") if entry.name == "noise" else entry for entry in known.tensors)
    with pytest.raises(TensorMismatch, match="noise"):
        blocks.decode(tensors, [delta], base)
