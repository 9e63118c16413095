"""One block of a release: the shortest of `same`, `delta` and `planes`. See docs/reference/release-format.md."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from fleetloop.weights import kernels_numpy, tokens
from fleetloop.weights.errors import BlobDamaged
from fleetloop.weights.tokens import U16, Model

Array = npt.NDArray[Any]

SAME, DELTA, PLANES, CHANGES = range(4)
"""Nothing changed; distances between floats of 16 bits; the values' byte planes; the byte planes of old XOR new."""

MANTISSA_BITS: Mapping[str, int] = {"bfloat16": 7, "float16": 10}
"""The types that `DELTA` is for."""

COMPILED = find_spec("numba") is not None
LANES = 32
COMPILED_FROM = 1 << 16
"""Values in a block from which loading compiled code pays."""
_SMALLEST_CLASS = 2048
_LEVEL = 1
_DELTA_HEAD = struct.Struct("<BBBI")  # lanes as a power of two, bounds, tokens, bytes of the packed frequencies


@dataclass(frozen=True)
class Profile:
    """How hard to try: every `stride`-th value is looked at to find out what is frequent."""

    name: str
    stride: int


SMALL, FAST = Profile("small", 1), Profile("fast", 8)
PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (SMALL, FAST)}


def encode(dtype: str, old: Array | None, new: Array, profile: Profile) -> tuple[int, bytes]:
    """(mode, payload) of a block, whose values come as unsigned integers. `old` is what the receiver has."""
    if old is None:
        return PLANES, _pack(_planes(new))
    if np.array_equal(old, new):
        return SAME, b""
    if dtype not in MANTISSA_BITS:
        return min(
            (PLANES, _pack(_planes(new))), (CHANGES, _pack(_planes(old ^ new))), key=lambda choice: len(choice[1])
        )
    delta = _encode_delta(old, new, MANTISSA_BITS[dtype], profile)
    if 2 * len(delta) > new.nbytes:  # planes seldom take less
        planes = _pack(_planes(new))
        if len(planes) < len(delta):
            return PLANES, planes
    return DELTA, delta


def decode(mode: int, payload: bytes, dtype: str, old: Array | None, new: Array) -> None:
    """Fill `new` with a block's values. Raises BlobDamaged."""
    if mode == PLANES:
        _join(_unpack(payload, new.nbytes), new)
        return
    if old is None:
        raise BlobDamaged("blob", f"stands alone, but has a block of mode {mode}, which needs a base")
    if mode == SAME and not payload:
        new[:] = old
    elif mode == CHANGES:
        _join(_unpack(payload, new.nbytes), new)
        new ^= old
    elif mode == DELTA and dtype in MANTISSA_BITS:
        _decode_delta(payload, old, new, MANTISSA_BITS[dtype])
    else:
        raise BlobDamaged("blob", f"has a block of mode {mode} with {len(payload)} bytes for {dtype}")


def _encode_delta(old: U16, new: U16, mantissa_bits: int, profile: Profile) -> bytes:
    kernels = _kernels(len(new))
    far = kernels.distances(old, new)
    counts = kernels.count(old, far, mantissa_bits, profile.stride)
    if profile.stride > 1:
        counts[0, tokens.TOKEN[far.max()]] += 1  # the sample may have missed the largest
    model = tokens.fit(counts, max(_SMALLEST_CLASS // profile.stride, 1), every_token=profile.stride > 1)
    states, words = kernels.encode(old, far, mantissa_bits, model, LANES)
    used = int(np.flatnonzero(model.frequencies.any(0)).max()) + 1
    packed = _pack(np.ascontiguousarray(model.frequencies[:, :used].T).astype("<u2").tobytes())
    head = _DELTA_HEAD.pack(LANES.bit_length() - 1, len(model.bounds), used, len(packed))
    parts = (head, model.bounds.tobytes(), packed, states.astype("<u8").tobytes(), words.astype("<u4").tobytes())
    return b"".join(parts)


def _decode_delta(payload: bytes, old: U16, new: U16, mantissa_bits: int) -> None:
    if len(payload) < _DELTA_HEAD.size:
        raise BlobDamaged("blob", "has a delta that ends within its head")
    lane_bits, bounds, used, packed = _DELTA_HEAD.unpack_from(payload)
    at = _DELTA_HEAD.size
    model_ends, states_end = at + bounds + packed, at + bounds + packed + (8 << min(lane_bits, 16))
    if lane_bits > 16 or not 1 <= used <= tokens.TOKENS or states_end > len(payload) or (len(payload) - states_end) % 4:
        raise BlobDamaged("blob", "has a delta whose head can't be right")
    frequencies = _unpack(payload[at + bounds : model_ends], 2 * used * (bounds + 1))
    model = _model(np.frombuffer(payload, np.uint8, bounds, at), frequencies, used)
    states = np.frombuffer(payload[model_ends:states_end], "<u8").astype(np.uint64)
    words = np.frombuffer(payload[states_end:], "<u4").astype(np.uint32)
    kernels = _kernels(len(new))
    if not kernels.decode(old, states, words, mantissa_bits, model, new):
        raise BlobDamaged("blob", "has a delta that does not come out even")
    kernels.apply(old, new)


def _model(bounds: tokens.U8, frequencies: bytes, used: int) -> Model:
    table = np.zeros((len(bounds) + 1, 1 << tokens.TOKEN_BITS), np.uint16)
    table[:, :used] = np.frombuffer(frequencies, "<u2").reshape(used, -1).T
    falling = bool((np.diff(bounds.astype(np.int64)) < 0).all())
    if not falling or not (table.sum(1, dtype=np.int64) == tokens.TOTAL).all():
        raise BlobDamaged("blob", "has a delta whose frequencies can't be right")
    return Model(bounds, table)


def _kernels(values: int) -> ModuleType:
    """Compiled or plain: they give the same bytes."""
    if not COMPILED or values < COMPILED_FROM:
        return kernels_numpy
    from fleetloop.weights import kernels_numba  # noqa: PLC0415 - takes a second, and small policies never need it

    return kernels_numba


def _planes(values: Array) -> bytes:
    """All lowest bytes, then all second ones, …"""
    return values.astype(values.dtype.newbyteorder("<")).view(np.uint8).reshape(len(values), -1).T.tobytes()


def _join(planes: bytes, values: Array) -> None:
    joined = np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(-1, len(values)).T)
    values[:] = joined.reshape(-1).view(values.dtype.newbyteorder("<"))


def _pack(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def _unpack(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes; nothing is allocated for a frame that claims another size."""
    try:
        if zstandard.frame_content_size(data) != size:
            raise BlobDamaged("blob", f"has a part that does not claim to unpack to {size} bytes")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise BlobDamaged("blob", f"has a part that can't be unpacked ({error})") from error
