"""The codec `blocks/1`: block by block the shortest of `same`, `delta` and `planes`, relative to a base or to nothing.

A blob is a head, a table of blocks, and the blocks' payloads; docs/reference/release-format.md says how to read one.
Blocks are worked on by several threads: the inner loops leave Python's lock alone.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from fleetloop.core.release import TensorEntry
from fleetloop.weights import block, streams
from fleetloop.weights.block import SMALL, Profile
from fleetloop.weights.errors import BaseMismatch, BaseMissing, BlobDamaged, CodecUnknown, TensorMismatch
from fleetloop.weights.streams import Block, Weights
from fleetloop.weights.verified import Known

NAME = "blocks/1"
BLOCK_BITS = 20
MOST_BLOCK_BITS = 24
BLOCKS_PER_BLOB = 8
"""At most 16 MiB of bf16: so little that a blob is sent while the next is made, and decoded while the next comes."""
MOST_THREADS = 4

_MAGIC, _VERSION = b"FLWB", 1
_HEAD = struct.Struct("<4sBBHII32s")  # magic, version, bits of a block's size, 0, first block, blocks, base's hash
_ENTRY = struct.Struct("<BI")  # mode, bytes of the payload
_ALONE = bytes(32)


def encode(
    tensors: Sequence[TensorEntry],
    weights: Weights,
    base: Known | None,
    profile: Profile = SMALL,
    *,
    threads: int | None = None,
    block_bits: int = BLOCK_BITS,
) -> Iterator[bytes]:
    """Blobs, each as soon as it is made.

    Raises:
        TensorMismatch: the base has other tensors: a delta can't be then.
        NameRefused, TensorMismatch, TooLarge: nobody could decode these; see `streams.check`.
    """
    streams.check(tensors)
    if base is not None:
        _check_alike(tensors, base)
    new, old = streams.rows(tensors, weights), streams.rows(tensors, base.weights) if base else {}

    def encoded(part: Block) -> tuple[int, bytes]:
        before = old[part.dtype].cut(part) if base else None
        return block.encode(part.dtype, before, new[part.dtype].cut(part), profile)

    identity = bytes.fromhex(base.result_hash) if base else _ALONE
    return _blobs(encoded, tensors, identity, threads=threads, block_bits=block_bits)


def _blobs(
    encoded: Callable[[Block], tuple[int, bytes]],
    tensors: Sequence[TensorEntry],
    identity: bytes,
    *,
    threads: int | None,
    block_bits: int,
) -> Iterator[bytes]:
    first = 0
    with _workers(threads, "encode") as pool:
        pieces = pool.map(encoded, streams.blocks(tensors, 1 << block_bits))
        while chosen := list(islice(pieces, BLOCKS_PER_BLOB)):
            head = _HEAD.pack(_MAGIC, _VERSION, block_bits, 0, first, len(chosen), identity)
            table = [_ENTRY.pack(mode, len(payload)) for mode, payload in chosen]
            yield b"".join([head, *table, *(payload for _, payload in chosen)])
            first += len(chosen)
    if first == 0:
        yield _HEAD.pack(_MAGIC, _VERSION, block_bits, 0, 0, 0, identity)


def decode(
    tensors: Sequence[TensorEntry], blobs: Iterable[bytes], base: Known | None, *, threads: int | None = None
) -> Weights:
    """The tensors; their hashes are still to be checked. One blob is held at a time.

    Raises:
        BlobDamaged: a blob breaks the format, or blobs are missing or in another order.
        BaseMissing, BaseMismatch: the blobs are relative to other weights than `base`.
        TensorMismatch: the base has other tensors.
        NameRefused, TensorMismatch, TooLarge: see `streams.check`.
    """
    streams.check(tensors)
    if base is not None:
        _check_alike(tensors, base)
    rooms, weights = streams.allocate(tensors)
    old = streams.rows(tensors, base.weights) if base else {}

    def decoded(part: Block, entry: tuple[int, bytes]) -> None:
        before = old[part.dtype].cut(part) if base else None
        block.decode(*entry, part.dtype, before, rooms[part.dtype][part.start : part.stop])

    expected: Iterator[Block] | None = None
    bits = done = 0
    with _workers(threads, "decode") as pool:
        for blob in blobs:
            head, payloads = _open(blob, base)
            if expected is None:
                bits, expected = head.block_bits, streams.blocks(tensors, 1 << head.block_bits)
            parts = list(islice(expected, len(payloads)))
            if (head.first, head.block_bits, len(parts)) != (done, bits, len(payloads)):
                raise BlobDamaged("blob", "is not the next one of this release")
            list(pool.map(decoded, parts, payloads))  # the list asks each for its error
            done += len(parts)
    if expected is None or next(expected, None) is not None:
        raise BlobDamaged("blobs", f"end after {done} blocks of the release")
    return weights


@contextmanager
def _workers(threads: int | None, name: str) -> Iterator[ThreadPoolExecutor]:
    """What has not begun when somebody has enough of it is left undone."""
    pool = ThreadPoolExecutor(threads or cores(), name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Those that this process may use, up to a few: the others are the robot's, or the training's."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, allowed)


@dataclass(frozen=True)
class _Head:
    block_bits: int
    first: int


def _open(blob: bytes, base: Known | None) -> tuple[_Head, list[tuple[int, bytes]]]:
    """Head, and each block's mode and payload. Raises BlobDamaged, CodecUnknown, BaseMissing, BaseMismatch."""
    if len(blob) < _HEAD.size:
        raise BlobDamaged("blob", f"has {len(blob)} bytes, fewer than its head")
    magic, version, block_bits, reserved, first, blocks, identity = _HEAD.unpack_from(blob)
    if magic != _MAGIC or version != _VERSION:
        raise CodecUnknown("blob", f"begins with {magic!r}, version {version}", f"this version reads {NAME}")
    if block_bits > MOST_BLOCK_BITS or reserved:
        raise BlobDamaged("blob", "has a head that can't be right")
    _check_base(identity, base)
    start = _HEAD.size + blocks * _ENTRY.size
    if start > len(blob):
        raise BlobDamaged("blob", f"ends within its table of {blocks} blocks")
    payloads = []
    for mode, size in _ENTRY.iter_unpack(blob[_HEAD.size : start]):
        payloads.append((mode, blob[start : start + size]))
        start += size
    if start != len(blob):
        raise BlobDamaged("blob", f"has {len(blob)} bytes; its blocks need {start}")
    return _Head(block_bits, first), payloads


def _check_base(identity: bytes, base: Known | None) -> None:
    if identity == _ALONE:
        return
    if base is None:
        raise BaseMissing("base", f"the blob is relative to weights {identity.hex()[:12]}, and none are given")
    if identity.hex() != base.result_hash:
        raise BaseMismatch(
            "base", f"the blob is relative to weights {identity.hex()[:12]}, not to {base.result_hash[:12]}"
        )


def _check_alike(tensors: Sequence[TensorEntry], base: Known) -> None:
    """Raise TensorMismatch unless the base has the same names, types and shapes."""
    old = {entry.name: (entry.dtype, entry.shape) for entry in base.tensors}
    new = {entry.name: (entry.dtype, entry.shape) for entry in tensors}
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            raise TensorMismatch(f"tensor {name}", f"is {_said(new.get(name))}, in the base {_said(old.get(name))}")


def _said(tensor: tuple[str, tuple[int, ...]] | None) -> str:
    return f"{tensor[0]}{list(tensor[1])}" if tensor else "missing"
