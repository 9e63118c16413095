"""The codec's inner loops, compiled: the same bytes as `kernels_numpy`, which says what each of them does.

Indices are unsigned throughout: numba then leaves out the test for negative ones, a third of the time.
"""

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from fleetloop.weights.kernels_numpy import LOWEST_STATE, U64
from fleetloop.weights.tokens import EXTRA, I64, LOWEST, TOKEN, TOKEN_BITS, TOTAL, TOTAL_BITS, U16, U32, Model

_u16, _u32, _u64 = np.uint16, np.uint32, np.uint64
_LIMIT = LOWEST_STATE
_ROW = 1 << TOKEN_BITS
_DAMAGED = 0xFFFF_FFFF_FFFF_FFFF
_PLACES = (LOWEST.astype(np.uint32)) | (EXTRA.astype(np.uint32) << 16)
"""(128,): a token's smallest distance, and above it its number of plain bits."""
_SHIFTS = np.array([max(0, (often - 1).bit_length() - 1) for often in range(TOTAL + 1)], np.uint64)
_RECIPROCALS = np.array(
    [(1 << 64) - 1] * 2 + [-(-(1 << ((often - 1).bit_length() + 63)) // often) for often in range(2, TOTAL + 1)],
    np.uint64,
)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    compile = numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
    return cast(Callable[..., Any], compile(function))


def _inlined(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return cast(Callable[[Any, Any], Any], intrinsic(function))


def distances(old: U16, new: U16) -> U16:
    far = np.empty_like(old)
    _distances(old, new, far)
    return far


def apply(old: U16, far: U16) -> None:
    _apply(old, far)


def count(old: U16, far: U16, mantissa_bits: int, stride: int) -> I64:
    counts = np.zeros(2 * 256 * _ROW, np.uint32)
    _count(old, far, _u32(mantissa_bits), _u64(stride), TOKEN, counts)
    both: I64 = counts.reshape(2, 256, _ROW).sum(0, dtype=np.int64)
    return both


def encode(old: U16, far: U16, mantissa_bits: int, model: Model, lanes: int) -> tuple[U64, U32]:
    states = np.full(lanes, LOWEST_STATE, np.uint64)
    words = np.empty(len(far) + 1, np.uint32)
    tables = (model.frequencies.ravel(), *_divisors(model))
    first = _encode(old, far, _u32(mantissa_bits), model.classes, TOKEN, EXTRA, tables, states, words)
    return states, words[first:].copy()


def decode(old: U16, states: U64, words: U32, mantissa_bits: int, model: Model, far: U16) -> bool:
    table = np.empty(len(model.frequencies) << TOTAL_BITS, np.uint32)
    _tabulate(model.frequencies, table)
    rows = np.tile(model.classes[: 1 << (15 - mantissa_bits)].astype(np.uint32) << TOTAL_BITS, 2)  # for either sign
    padded = np.concatenate([words, np.zeros(len(states), np.uint32)])
    limit = _u64(len(words))
    read = _decode(old, padded, limit, states, _u32(mantissa_bits), rows, table, _PLACES, far)
    return int(read) == len(words) and bool((states == LOWEST_STATE).all())


def _divisors(model: Model) -> tuple[U16, U64, U64]:
    """What turns a division by a frequency into a multiplication (ryg_rans, F. Giesen): bias, reciprocal, shift."""
    frequencies = model.frequencies.ravel()
    biases = model.starts.ravel() + np.where(frequencies == 1, TOTAL - 1, 0).astype(np.uint16)
    return biases, _RECIPROCALS[frequencies], _SHIFTS[frequencies]


@_inlined
def _high_product(context: Any, first: Any, second: Any) -> Any:
    """The upper 64 bits of the product of two unsigned integers of 64 bits."""
    signature = numba.uint64(numba.uint64, numba.uint64)

    def generate(context: Any, builder: Any, signature: Any, factors: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(factor, wide) for factor in factors))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return signature, generate


@_compiled
def _distances(old: Any, new: Any, far: Any) -> None:
    for i in range(old.size):
        a, b = old[i], new[i]
        a = _u16(a ^ _u16(_u16(_u16(0) - _u16(a >> _u16(15))) | _u16(0x8000)))
        b = _u16(b ^ _u16(_u16(_u16(0) - _u16(b >> _u16(15))) | _u16(0x8000)))
        between = _u16(b - a)
        far[i] = _u16(_u16(between << _u16(1)) ^ _u16(_u16(0) - _u16(between >> _u16(15))))


@_compiled
def _apply(old: Any, far: Any) -> None:
    for i in range(old.size):
        a, distance = old[i], far[i]
        a = _u16(a ^ _u16(_u16(_u16(0) - _u16(a >> _u16(15))) | _u16(0x8000)))
        place = _u16(a + _u16(_u16(distance >> _u16(1)) ^ _u16(_u16(0) - _u16(distance & _u16(1)))))
        far[i] = _u16(place ^ _u16(_u16(_u16(place >> _u16(15)) - _u16(1)) | _u16(0x8000)))


@_compiled
def _count(old: Any, far: Any, mantissa_bits: Any, stride: Any, token: Any, counts: Any) -> None:
    # Two tables, used in turn: the processor need not wait for the last addition when the same pair comes again.
    size, other, i = _u64(far.size), _u64(0), _u64(0)
    while i < size:
        exponent = _u64((_u32(old[i]) & _u32(0x7FFF)) >> mantissa_bits)
        counts[other + (exponent << _u64(TOKEN_BITS)) + _u64(token[far[i]])] += _u32(1)
        other = _u64(256 * _ROW) - other
        i += stride


@_compiled
def _encode(
    old: Any,
    far: Any,
    mantissa_bits: Any,
    classes: Any,
    token: Any,
    extra: Any,
    tables: Any,
    states: Any,
    words: Any,
) -> Any:
    frequencies, biases, reciprocals, shifts = tables
    i, at, mask = _u64(far.size), _u64(words.size), _u64(states.size - 1)
    while i > _u64(0):
        i -= _u64(1)
        distance = far[i]
        which = _u64(token[distance])
        bits = _u64(extra[which])
        entry = (_u64(classes[(_u32(old[i]) & _u32(0x7FFF)) >> mantissa_bits]) << _u64(TOKEN_BITS)) | which
        often, state = _u64(frequencies[entry]), states[i & mask]
        before = at - _u64(1)
        words[before] = _u32(state)
        full = state >= (often << (_u64(63 - TOTAL_BITS) - bits))
        state = (state >> _u64(32)) if full else state
        at = before if full else at
        state = (state << bits) | (_u64(distance) & ((_u64(1) << bits) - _u64(1)))
        whole = _high_product(state, reciprocals[entry]) >> shifts[entry]
        states[i & mask] = state + _u64(biases[entry]) + whole * (_u64(TOTAL) - often)
    return at


@_compiled
def _tabulate(frequencies: Any, table: Any) -> None:
    """Per class and slot: the token, the slot's place in the token's share, the token's frequency."""
    at = 0
    for row in range(frequencies.shape[0]):
        for which in range(frequencies.shape[1]):
            often = _u32(frequencies[row, which])
            for place in range(often):
                table[at] = _u32(which) | (_u32(place) << _u32(TOKEN_BITS)) | (often << _u32(TOKEN_BITS + TOTAL_BITS))
                at += 1


@_compiled
def _decode(
    old: Any,
    words: Any,
    limit: Any,
    states: Any,
    mantissa_bits: Any,
    rows: Any,
    table: Any,
    places: Any,
    far: Any,
) -> Any:
    size, lanes, at, i = _u64(far.size), _u64(states.size), _u64(0), _u64(0)
    while i < size:
        if at > limit:  # `words` has room for one more round
            return _u64(_DAMAGED)
        for lane in range(min(lanes, size - i)):
            state = states[lane]
            row = rows[old[i] >> mantissa_bits]
            entry = table[row | (_u32(state) & _u32(TOTAL - 1))]
            state = _u64(entry >> _u32(TOKEN_BITS + TOTAL_BITS)) * (state >> _u64(TOTAL_BITS)) + _u64(
                (entry >> _u32(TOKEN_BITS)) & _u32(TOTAL - 1)
            )
            place = places[entry & _u32(_ROW - 1)]
            bits = place >> _u32(16)
            far[i] = _u16(_u32(place) + (_u32(state) & ((_u32(1) << bits) - _u32(1))))
            state >>= _u64(bits)
            # No branch: with many bits per value the processor could not foresee it, and would wait twice as long.
            low = state < _u64(_LIMIT)
            fuller = (state << _u64(32)) | _u64(words[at])
            states[lane] = fuller if low else state
            at += _u64(low)
            i += _u64(1)
    return at
