"""Weights and the hashes that say which ones they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.release import Release, TensorEntry
from fleetloop.weights.errors import TensorMismatch
from fleetloop.weights.streams import Array, Weights


@dataclass(frozen=True)
class Known:
    """Weights whose hashes are known to be right, so that others can be told relative to them."""

    weights: Weights
    tensors: tuple[TensorEntry, ...]
    result_hash: str

    @classmethod
    def of(cls, weights: Weights) -> "Known":
        """Work out the hashes."""
        tensors = entries(weights)
        return cls(weights, tensors, result_hash(tensors))


def entries(weights: Weights) -> tuple[TensorEntry, ...]:
    """What a manifest says of each tensor, in the order of their names."""
    return tuple(
        TensorEntry(name, array.dtype.name, array.shape, content_hash(array)) for name, array in sorted(weights.items())
    )


def content_hash(array: Array) -> str:
    """blake3 of a tensor's bytes in C order."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return blake3(flat.view(np.uint8).data if flat.size else b"").hexdigest()


def result_hash(tensors: Sequence[TensorEntry]) -> str:
    """One hash over names, types, shapes and contents."""
    hasher = blake3()
    for entry in tensors:
        hasher.update(f"{entry.name}\0{entry.dtype}\0{list(entry.shape)}\0{entry.hash}\n".encode())
    return hasher.hexdigest()


def verify(release: Release, weights: Weights) -> None:
    """Raise ReleaseInvalid unless these are exactly the weights that the manifest describes."""
    verify_tensors(release.tensors, release.result_hash, weights)


def verify_tensors(tensors: Sequence[TensorEntry], expected: str, weights: Weights) -> None:
    """Raise TensorMismatch, or ReleaseInvalid for a result hash that is not the tensors'."""
    if set(weights) != {entry.name for entry in tensors}:
        odd = min(set(weights) ^ {entry.name for entry in tensors})
        raise TensorMismatch(f"tensor {odd}", "is in the manifest or in the weights, but not in both")
    for entry in tensors:
        array = weights[entry.name]
        if (array.dtype.name, array.shape) != (entry.dtype, entry.shape):
            found, said = f"{array.dtype.name}{list(array.shape)}", f"{entry.dtype}{list(entry.shape)}"
            raise TensorMismatch(f"tensor {entry.name}", f"is {found}, not {said}")
        if content_hash(array) != entry.hash:
            raise TensorMismatch(f"tensor {entry.name}", "has another hash than the manifest says")
    if result_hash(tensors) != expected:
        raise ReleaseInvalid("result_hash", "is not the hash of the tensors' hashes")
