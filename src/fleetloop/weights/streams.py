"""A release's tensors as a few long rows of values, cut into blocks: small tensors cost no block of their own.

Tensors of one type, in the order of their names, make a stream. Streams follow each other in the order of their types'
names. A block is up to so many values of one stream.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from fleetloop.core.release import TensorEntry
from fleetloop.weights.errors import NameRefused, TensorMismatch, TooLarge

Array = npt.NDArray[Any]
Weights = Mapping[str, Array]
"""Tensor name -> array; bf16 is `ml_dtypes.bfloat16`."""

DTYPES: Mapping[str, npt.DTypeLike] = {
    "bfloat16": ml_dtypes.bfloat16,
    "bool": np.bool_,
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float64,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "int8": np.int8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "uint8": np.uint8,
}
MOST_BYTES = 1 << 36
"""No release is decoded that would be larger; 34 B parameters of bf16."""


@dataclass(frozen=True)
class Block:
    """Values `start` to `stop` of the stream of a type."""

    dtype: str
    start: int
    stop: int


class Row:
    """The values of a stream's tensors, flat, as unsigned integers of their size; copied only where they must be."""

    def __init__(self, tensors: Iterable[Array]) -> None:
        self._parts = [part for part in map(_bits, tensors) if part.size]
        self._ends = list(accumulate(part.size for part in self._parts))

    def cut(self, block: Block) -> Array:
        """(stop - start,), not to be written to: a view where the block lies within one tensor."""
        at, pieces = block.start, []
        while at < block.stop:
            number = bisect_right(self._ends, at)
            part, end = self._parts[number], self._ends[number]
            first = at - (end - part.size)
            pieces.append(part[first : first + min(end, block.stop) - at])
            at = min(end, block.stop)
        values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        values.flags.writeable = False  # whatever the tensors are: compiled code is made once per kind of array
        return values


def rows(tensors: Sequence[TensorEntry], weights: Weights) -> dict[str, Row]:
    """Type -> its stream."""
    return {dtype: Row(weights[entry.name] for entry in entries) for dtype, entries in _by_type(tensors).items()}


def blocks(tensors: Sequence[TensorEntry], values: int) -> Iterator[Block]:
    """All blocks, in order."""
    for dtype, entries in _by_type(tensors).items():
        total = sum(math.prod(entry.shape) for entry in entries)
        for start in range(0, total, values):
            yield Block(dtype, start, min(start + values, total))


def allocate(tensors: Sequence[TensorEntry]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Room for a release: the tensors, and the streams of unsigned integers that they are views of."""
    streams: dict[str, Array] = {}
    weights: dict[str, Array] = {}
    for dtype, entries in _by_type(tensors).items():
        try:
            stream = np.empty(sum(math.prod(entry.shape) for entry in entries), DTYPES[dtype])
        except MemoryError as error:
            raise TooLarge("tensors", f"take more memory than there is ({error})") from error
        streams[dtype], at = _bits(stream), 0
        for entry in entries:
            size = math.prod(entry.shape)
            weights[entry.name] = stream[at : at + size].reshape(entry.shape)
            at += size
    return streams, weights


def check(tensors: Sequence[TensorEntry], most_bytes: int = MOST_BYTES) -> None:
    """Raise what keeps these tensors from being decoded, before anything is allocated, or encoded in vain.

    Raises:
        NameRefused, TensorMismatch, TooLarge: naming the tensor.
    """
    total, seen = 0, set()
    for entry in tensors:
        if not entry.name.isprintable() or entry.name in ("", "__metadata__") or _is_path_trick(entry.name):
            raise NameRefused(f"tensor {entry.name!r}", "has a name that no tensor may have")
        if entry.name in seen:
            raise TensorMismatch(f"tensor {entry.name}", "is in the manifest twice")
        if entry.dtype not in DTYPES:
            raise TensorMismatch(f"tensor {entry.name}", f"has the type {entry.dtype}", f"known: {', '.join(DTYPES)}")
        if not all(isinstance(size, int) and size >= 0 for size in entry.shape):
            raise TensorMismatch(f"tensor {entry.name}", f"has the shape {list(entry.shape)}")
        seen.add(entry.name)
        total += math.prod(entry.shape) * np.dtype(DTYPES[entry.dtype]).itemsize
        if total > most_bytes:
            raise TooLarge(f"tensor {entry.name}", f"would bring the release above {most_bytes:,} bytes")


def _is_path_trick(name: str) -> bool:
    return name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/")


def _by_type(tensors: Sequence[TensorEntry]) -> dict[str, list[TensorEntry]]:
    found: dict[str, list[TensorEntry]] = {}
    for entry in sorted(tensors, key=lambda entry: (entry.dtype, entry.name)):
        found.setdefault(entry.dtype, []).append(entry)
    return found


def _bits(tensor: Array) -> Array:
    flat = np.ascontiguousarray(tensor).reshape(-1)
    return flat.view(np.dtype(f"u{flat.dtype.itemsize}"))
