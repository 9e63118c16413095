"""safetensors files. Written by the library; read here, because its reader copies every tensor: of a large release that
takes as long as fetching the next one over a fast line, and it knows no bf16 for numpy.

The format: https://huggingface.co/docs/safetensors#format.
"""

import json
import math
import struct
from collections.abc import Mapping

import numpy as np
import safetensors.numpy

from fleetloop.weights.errors import BlobDamaged, TensorMismatch
from fleetloop.weights.streams import DTYPES, Array, Weights

_DTYPES: Mapping[str, str] = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
_SIZE = struct.Struct("<Q")


def to_safetensors(weights: Weights) -> bytes:
    """The bytes of a safetensors file."""
    ordered = {name: np.asarray(array, order="C") for name, array in sorted(weights.items())}  # keeps () a ()
    return safetensors.numpy.save(ordered)


def from_safetensors(data: bytes) -> dict[str, Array]:
    """The arrays of a safetensors file, read-only: views of `data`. Raises ReleaseInvalid if it is malformed."""
    try:
        start = at = _SIZE.size + _SIZE.unpack_from(data)[0]
        weights = {}
        for name, kind, shape, (first, last) in _entries(data[_SIZE.size : start]):
            array = _array(data, at, name, kind, shape)
            if (first, last) != (at - start, at - start + array.nbytes):
                raise ValueError(f"{name} is not where the one before ends")
            weights[name], at = array, at + array.nbytes
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes are no tensor's")
    except (struct.error, AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BlobDamaged("blob", f"is no safetensors file ({error})") from error
    return weights


def _entries(header: bytes) -> list[tuple[str, str, list[int], list[int]]]:
    """Name, type, shape and place of each tensor, in the order of their places."""
    said = json.loads(header)
    said.pop("__metadata__", None)
    entries = [(name, entry["dtype"], entry["shape"], entry["data_offsets"]) for name, entry in said.items()]
    return sorted(entries, key=lambda entry: entry[3])


def _array(data: bytes, at: int, name: str, kind: str, shape: list[int]) -> Array:
    if kind not in _DTYPES:
        raise TensorMismatch(f"tensor {name}", f"has the type {kind}", f"known: {', '.join(_DTYPES)}")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{name} has the shape {shape}")
    array = np.frombuffer(data, DTYPES[_DTYPES[kind]], math.prod(shape), at).reshape(shape)
    return array if array.flags.aligned else array.copy()
