"""Weights go out and come back bit for bit, and anything else is noticed."""

import json
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.release import Encoding, TensorEntry
from fleetloop.weights.codec import Encoded, decode, encode, from_safetensors, result_hash, to_safetensors, verify
from manifests import manifest_of

Arrays = dict[str, npt.NDArray[Any]]
DTYPES = [ml_dtypes.bfloat16, np.float16, np.float32, np.float64, np.int64, np.int32, np.uint8, np.uint64]


def _array(shape: list[int], dtype: Any, seed: int, transposed: bool) -> npt.NDArray[Any]:
    array = (np.random.default_rng(seed).normal(size=shape) * 50).astype(dtype)
    return array.T if transposed else array


arrays = st.builds(
    _array, st.lists(st.integers(0, 4), max_size=3), st.sampled_from(DTYPES), st.integers(0, 99), st.booleans()
)
weights = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9).filter(
        lambda name: name != "__metadata__"
    ),
    arrays,
    min_size=1,
    max_size=4,
)


def same(first: Arrays, second: Arrays) -> bool:
    return set(first) == set(second) and all(
        first[name].dtype == second[name].dtype
        and first[name].shape == second[name].shape
        and first[name].tobytes() == second[name].tobytes()
        for name in first
    )


@given(weights)
def test_weights_come_back_bit_for_bit(weights: Arrays) -> None:
    encoded = encode(weights)
    assert same(dict(decode(manifest_of(encoded), encoded.fetch)), weights)
    assert same(from_safetensors(to_safetensors(weights)), weights)


@given(weights)
def test_the_same_weights_have_the_same_blob_and_hash(weights: Arrays) -> None:
    backwards = dict(reversed(weights.items()))
    assert encode(weights) == encode(backwards)


def test_not_a_number_and_minus_zero_survive() -> None:
    weights = {"odd": np.array([np.nan, -0.0, np.inf, 1e-40], np.float32)}
    encoded = encode(weights)
    assert same(dict(decode(manifest_of(encoded), encoded.fetch)), weights)


@pytest.fixture(scope="module")
def encoded() -> Encoded:
    rng = np.random.default_rng(0)
    return encode({"a": rng.normal(size=(3, 4)).astype(ml_dtypes.bfloat16), "b": np.arange(5, dtype=np.int64)})


@settings(max_examples=100)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_blob_is_noticed(encoded: Encoded, share: float, bit: int) -> None:
    (blob,) = encoded.blobs.values()
    broken = bytearray(blob)
    broken[int(len(blob) * share)] ^= 1 << bit
    with pytest.raises(ReleaseInvalid, match="blob"):
        decode(manifest_of(encoded), lambda _: bytes(broken))


@settings(max_examples=100)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_that_the_blobs_hash_covers_up_is_noticed_too(encoded: Encoded, share: float, bit: int) -> None:
    """A blob that was wrong before it was hashed: the tensors' own hashes, shapes and names tell."""
    (blob,) = encoded.blobs.values()
    broken = bytearray(blob)
    broken[int(len(blob) * share)] ^= 1 << bit
    try:
        weights = from_safetensors(bytes(broken))
        verify(manifest_of(encoded), weights)
    except ReleaseInvalid:
        return
    assert same(weights, from_safetensors(blob))  # the flip was in a space or an order that means nothing


@given(weights)
def test_what_is_read_is_what_the_library_reads(weights: Arrays) -> None:
    data = to_safetensors(weights)
    theirs = {name: (tuple(entry["shape"]), bytes(entry["data"])) for name, entry in safetensors.deserialize(data)}
    assert {name: (array.shape, array.tobytes()) for name, array in from_safetensors(data).items()} == theirs


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}},
        {"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"shape": [2], "data_offsets": [0, 8]}},
        {"a": 3},
        [],
        None,
        {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in "ab"},
    ],
)
def test_a_header_that_does_not_fit_its_bytes_is_refused(header: Any) -> None:
    said = json.dumps(header).encode()
    with pytest.raises(ReleaseInvalid):
        from_safetensors(len(said).to_bytes(8, "little") + said + bytes(8))


@pytest.mark.parametrize("size", [0, 7, 8, 2**63, 2**64 - 1])
def test_a_header_of_a_length_that_is_not_there_is_refused(size: int) -> None:
    with pytest.raises(ReleaseInvalid):
        from_safetensors(size.to_bytes(8, "little") + b"[" * 7)


def test_tensors_at_odd_places_can_be_worked_with() -> None:
    said = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    said += b" " * (len(said) % 2 == 0)
    array = from_safetensors(len(said).to_bytes(8, "little") + said + np.float32([1.5, 2]).tobytes())["a"]
    assert array.flags.aligned
    assert array.tolist() == [1.5, 2]


@given(st.binary(max_size=200))
def test_noise_is_no_safetensors_file(data: bytes) -> None:
    with pytest.raises(ReleaseInvalid):
        from_safetensors(data)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("result_hash", {"result_hash": "0" * 64}),
        ("codec.*full/1", {"encodings": (Encoding("delta/9", 0, ()),)}),
        ("tensor b", {"tensors": ()}),
        ("0 given", {"encodings": (Encoding("full/1", 0, ()),)}),
        ("stands on others.*3", {"encodings": (Encoding("blocks/1", 3, ()),)}),
    ],
)
def test_a_wrong_manifest_is_named(encoded: Encoded, words: str, changes: dict[str, Any]) -> None:
    if "tensors" in changes:
        changes = {"tensors": encoded.tensors[:1]}
    with pytest.raises(ReleaseInvalid, match=words):
        decode(manifest_of(encoded, **changes), encoded.fetch)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "float32"},
        {"shape": (4, 3)},
        {"hash": "0" * 64},
        {"name": "c"},
    ],
)
def test_a_tensor_that_is_not_the_manifests_is_named(encoded: Encoded, entry: dict[str, Any]) -> None:
    tensors = (replace(encoded.tensors[0], **entry), *encoded.tensors[1:])
    wrong = manifest_of(encoded, tensors=tensors, result_hash=result_hash(tensors))
    with pytest.raises(ReleaseInvalid, match="tensor"):
        decode(wrong, encoded.fetch)


def test_the_result_hash_covers_names_types_shapes_and_contents() -> None:
    entry = TensorEntry("a", "float32", (2,), "h")
    others = [
        replace(entry, **change) for change in ({"name": "b"}, {"dtype": "int32"}, {"shape": (1, 2)}, {"hash": "i"})
    ]
    assert len({result_hash((item,)) for item in (entry, *others)}) == 5
