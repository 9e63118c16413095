"""The codec's inner loops in numpy alone. `kernels_numba` gives the same bytes, many times as fast.

The coder is rANS (Duda, arXiv 1311.2540) with a state of 63 bits and words of 32, as many states side by side as there
are lanes: value i belongs to lane i mod lanes. Words are written backwards and read forwards.
"""

import numpy as np
import numpy.typing as npt

from fleetloop.weights.tokens import EXTRA, I64, LOWEST, TOKEN, TOKEN_BITS, TOTAL, TOTAL_BITS, U16, U32, Model

U64 = npt.NDArray[np.uint64]

LOWEST_STATE = 1 << 31
_MAGNITUDE = 0x7FFF


def distances(old: U16, new: U16) -> U16:
    """(n,): from the bits of floats to the zigzag distance between them, in units in the last place."""
    between = _ordered(new) - _ordered(old)
    return (between << np.uint16(1)) ^ -(between >> np.uint16(15))


def apply(old: U16, far: U16) -> None:
    """The reverse of `distances`: turns `far` (n,) into the new floats' bits, in place."""
    place = _ordered(old) + ((far >> np.uint16(1)) ^ -(far & np.uint16(1)))
    far[:] = place ^ (((place >> np.uint16(15)) - np.uint16(1)) | np.uint16(0x8000))


def count(old: U16, far: U16, mantissa_bits: int, stride: int) -> I64:
    """(256, 128): how often (old exponent, token) occurs among every `stride`-th value."""
    pairs = (_exponents(old[::stride], mantissa_bits).astype(np.int64) << TOKEN_BITS) | TOKEN[far[::stride]]
    return np.bincount(pairs, minlength=256 << TOKEN_BITS).reshape(256, -1)


def encode(old: U16, far: U16, mantissa_bits: int, model: Model, lanes: int) -> tuple[U64, U32]:
    """The lanes' last states (lanes,) and the words, in the order in which they are read."""
    rows = model.classes[_exponents(old, mantissa_bits)]
    tokens = TOKEN[far]
    extra = EXTRA[tokens].astype(np.uint64)
    plain = far.astype(np.uint64) & ((np.uint64(1) << extra) - np.uint64(1))
    frequency = model.frequencies[rows, tokens].astype(np.uint64)
    start = model.starts[rows, tokens].astype(np.uint64)
    states, groups = np.full(lanes, LOWEST_STATE, np.uint64), []
    for first in range((len(far) - 1) // lanes * lanes, -1, -lanes):
        here = slice(first, first + lanes)
        state, often = states[: len(frequency[here])], frequency[here]
        full = state >= often << (np.uint64(63 - TOTAL_BITS) - extra[here])
        groups.append(state[full].astype(np.uint32))
        state[full] >>= np.uint64(32)
        state[:] = (state << extra[here]) | plain[here]
        whole, part = np.divmod(state, often)
        state[:] = (whole << np.uint64(TOTAL_BITS)) + part + start[here]
    return states, np.concatenate([*groups[::-1], np.zeros(0, np.uint32)])


def decode(old: U16, states: U64, words: U32, mantissa_bits: int, model: Model, far: U16) -> bool:
    """Fill `far` (n,). False if the words are not what an encoder writes."""
    lanes, limit, at = len(states), len(words), 0
    rows = model.classes[_exponents(old, mantissa_bits)].astype(np.int64) << TOTAL_BITS
    slots = np.concatenate([np.repeat(np.arange(1 << TOKEN_BITS), row) for row in model.frequencies])
    frequencies, starts = model.frequencies.astype(np.uint64).ravel(), model.starts.astype(np.uint64).ravel()
    words = np.concatenate([words, np.zeros(lanes, np.uint32)])
    for first in range(0, len(far), lanes):
        here = slice(first, first + lanes)
        state = states[: len(rows[here])]
        slot = state & np.uint64(TOTAL - 1)
        token = slots[rows[here] + slot.astype(np.int64)]
        entry = ((rows[here] >> TOTAL_BITS) << TOKEN_BITS) + token
        state[:] = frequencies[entry] * (state >> np.uint64(TOTAL_BITS)) + slot - starts[entry]
        extra = EXTRA[token].astype(np.uint64)
        far[here] = LOWEST[token] + (state & ((np.uint64(1) << extra) - np.uint64(1))).astype(np.uint16)
        state >>= extra
        low = np.flatnonzero(state < LOWEST_STATE)
        state[low] = (state[low] << np.uint64(32)) | words[at : at + len(low)]
        at += len(low)
        if at > limit:
            return False
    return at == limit and bool((states == LOWEST_STATE).all())


def _ordered(bits: U16) -> U16:
    """Floats' bits as integers that are in the floats' order."""
    return bits ^ (-(bits >> np.uint16(15)) | np.uint16(0x8000))


def _exponents(bits: U16, mantissa_bits: int) -> U16:
    return (bits & np.uint16(_MAGNITUDE)) >> np.uint16(mantissa_bits)
