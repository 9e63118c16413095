"""Weights to test with: any bit patterns, and pairs that are near each other as after a few optimizer steps."""

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Arrays = dict[str, npt.NDArray[Any]]

DTYPES = [
    *("bfloat16", "float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
]
ODD_BITS = [0x0000, 0x8000, 0x7F80, 0xFF80, 0x7FC1, 0xFFFF, 0x0001, 0x8001, 0x7C00, 0xFC01]
"""Zeros, infinities, NaNs with payloads and subnormal numbers, of bf16 or f16."""


def near(size: int, seed: int = 0, rate: float = 1e-4) -> tuple[Arrays, Arrays]:
    """Two sets of weights, the second some optimizer steps after the first."""
    rng = np.random.default_rng(seed)
    old = {
        "body.weight": rng.normal(0, 0.03, (size // 8, 8)).astype(np.float32),
        "body.bias": rng.normal(0, 0.03, 8).astype(np.float32),
        "head.weight": rng.normal(0, 0.3, size // 4).astype(np.float32),
    }
    new = {name: array + rng.normal(0, rate, array.shape).astype(np.float32) for name, array in old.items()}
    steps = {"steps": np.array(7), "stats.mean": rng.normal(size=3).astype(np.float32)}
    return {**_rounded(old), **steps}, {**_rounded(new), **steps, "steps": np.array(32)}


def _rounded(weights: Arrays) -> Arrays:
    return {name: array.astype(ml_dtypes.bfloat16) for name, array in weights.items()}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Arrays, Arrays]:
    """Two sets of weights of one architecture: any types, any bits, some of them the same in both."""
    old, new = {}, {}
    for number in range(draw(st.integers(1, 4))):
        dtype, size = np.dtype(draw(st.sampled_from(DTYPES))), draw(st.integers(0, 700))
        rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        first = _bits(rng, dtype, size)
        second = np.where(rng.random(size) < draw(st.sampled_from([0, 0.1, 1])), _bits(rng, dtype, size), first)
        old[f"tensor.{number}"], new[f"tensor.{number}"] = first.view(dtype), second.view(dtype)
    return old, new


def _bits(rng: np.random.Generator, dtype: np.dtype[Any], size: int) -> npt.NDArray[Any]:
    if dtype == np.bool_:
        return rng.integers(0, 2, size, np.uint8)
    bits = rng.integers(0, 256, (size, dtype.itemsize), np.uint8).reshape(-1).view(f"u{dtype.itemsize}")
    if dtype.itemsize == 2 and size:
        bits[rng.random(size) < 0.2] = rng.choice(ODD_BITS)
    return bits


def same(first: Any, second: Any) -> bool:
    """Bit for bit, with names, types and shapes."""
    return set(first) == set(second) and all(
        first[name].dtype == second[name].dtype
        and first[name].shape == second[name].shape
        and first[name].tobytes() == second[name].tobytes()
        for name in first
    )
