"""How a release's tensors become blobs and come back. One entry in `CODECS` per format; manifests name theirs.

`full/1` is the anchor: all tensors in one safetensors blob, bf16 as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import ml_dtypes
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from blake3 import blake3

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.release import BlobEntry, Release, TensorEntry

Weights = Mapping[str, npt.NDArray[Any]]
"""Tensor name -> array; bf16 is `ml_dtypes.bfloat16`."""


# safetensors' own numpy loader knows no bf16.
_DTYPES: Mapping[str, npt.DTypeLike] = {
    "BF16": ml_dtypes.bfloat16,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(frozen=True)
class Encoded:
    """What a codec made of a set of weights."""

    codec: str
    tensors: tuple[TensorEntry, ...]
    result_hash: str
    blobs: Mapping[str, bytes]

    @property
    def entries(self) -> tuple[BlobEntry, ...]:
        return tuple(BlobEntry(hash, len(data)) for hash, data in self.blobs.items())


class Codec(Protocol):
    """A way to write weights, possibly relative to weights that the receiver has (`base`)."""

    name: str

    def encode(self, weights: Weights, base: Weights | None) -> list[bytes]: ...

    def decode(self, blobs: list[bytes], base: Weights | None) -> Weights: ...


class Full:
    """Everything, in one safetensors blob; needs no base."""

    name = "full/1"

    def encode(self, weights: Weights, base: Weights | None) -> list[bytes]:
        return [to_safetensors(weights)]

    def decode(self, blobs: list[bytes], base: Weights | None) -> Weights:
        if len(blobs) != 1:
            raise ReleaseInvalid("blobs", f"{len(blobs)} given, but {self.name} has exactly 1")
        return from_safetensors(blobs[0])


CODECS: Mapping[str, Codec] = {codec.name: codec for codec in (Full(),)}


def encode(weights: Weights, codec: str = Full.name, base: Weights | None = None) -> Encoded:
    """Weights as content-addressed blobs, with the hashes that a robot verifies."""
    blobs = CODECS[codec].encode(weights, base)
    entries = tuple(
        TensorEntry(name, array.dtype.name, array.shape, blake3(np.ascontiguousarray(array).tobytes()).hexdigest())
        for name, array in sorted(weights.items())
    )
    return Encoded(codec, entries, result_hash(entries), {blake3(blob).hexdigest(): blob for blob in blobs})


def decode(release: Release, fetch: Callable[[str], bytes], base: Weights | None = None) -> Weights:
    """The release's weights, every blob and every tensor verified.

    Raises:
        ReleaseInvalid: naming the blob or the tensor whose hash, shape or dtype is not the manifest's.
    """
    codec = CODECS.get(release.codec)
    if codec is None:
        raise ReleaseInvalid("codec", f"is {release.codec!r}", f"this version reads {', '.join(CODECS)}")
    blobs = [fetch(entry.hash) for entry in release.blobs]
    for entry, blob in zip(release.blobs, blobs, strict=True):
        if blake3(blob).hexdigest() != entry.hash:
            raise ReleaseInvalid(f"blob {entry.hash[:12]}", "has other bytes than its hash says", "fetch it again")
    weights = codec.decode(blobs, base)
    verify(release, weights)
    return weights


def verify(release: Release, weights: Weights) -> None:
    """Raise ReleaseInvalid unless these are exactly the weights that the manifest describes."""
    if set(weights) != {entry.name for entry in release.tensors}:
        odd = min(set(weights) ^ {entry.name for entry in release.tensors})
        raise ReleaseInvalid(f"tensor {odd}", "is in the manifest or in the weights, but not in both")
    for entry in release.tensors:
        array = weights[entry.name]
        if (array.dtype.name, array.shape) != (entry.dtype, entry.shape):
            raise ReleaseInvalid(
                f"tensor {entry.name}",
                f"is {array.dtype.name}{list(array.shape)}, not {entry.dtype}{list(entry.shape)}",
            )
        if blake3(np.ascontiguousarray(array).tobytes()).hexdigest() != entry.hash:
            raise ReleaseInvalid(f"tensor {entry.name}", "has another hash than the manifest says")
    if result_hash(release.tensors) != release.result_hash:
        raise ReleaseInvalid("result_hash", "is not the hash of the tensors' hashes")


def result_hash(entries: tuple[TensorEntry, ...]) -> str:
    """One hash over names, types, shapes and contents."""
    hasher = blake3()
    for entry in entries:
        hasher.update(f"{entry.name}\0{entry.dtype}\0{list(entry.shape)}\0{entry.hash}\n".encode())
    return hasher.hexdigest()


def to_safetensors(weights: Weights) -> bytes:
    """The bytes of a safetensors file."""
    ordered = {name: np.asarray(array, order="C") for name, array in sorted(weights.items())}  # keeps () a ()
    return safetensors.numpy.save(ordered)


def from_safetensors(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a safetensors file; raises ReleaseInvalid if it is malformed."""
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ReleaseInvalid("blob", f"is no safetensors file ({error})") from error
    weights = {}
    for name, entry in entries:
        if entry["dtype"] not in _DTYPES:
            raise ReleaseInvalid(f"tensor {name}", f"has the type {entry['dtype']}", f"known: {', '.join(_DTYPES)}")
        weights[name] = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return weights
