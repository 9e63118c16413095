"""From a distance between two weights to a token and a few plain bits, and how likely tokens are.

A distance is in units in the last place (ulp), zigzag: 0, -1, 1, -2, … are 0, 1, 2, 3, … Below 32 it is its own token.
Above, a token stands for an eighth of an octave, and `EXTRA` bits say where in it. How likely a token is depends on the
exponent that the old weight had: exponents are put into classes, and each class has frequencies that add up to `TOTAL`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

DIRECT = 32
TOKENS = 120
TOKEN_BITS = 7
"""A row of frequencies is padded to 2^7 tokens."""
TOTAL_BITS = 12
TOTAL = 1 << TOTAL_BITS
EXPONENTS = 256


def _token_tables() -> tuple[U8, U8, U16]:
    distances = np.arange(1 << 16)
    octave = np.maximum(np.frexp(np.maximum(distances, 1))[1] - 4, 0)  # so that distance >> octave is below 16
    tokens = np.where(distances < DIRECT, distances, DIRECT + (octave - 2) * 8 + (distances >> octave) - 8)
    extra, lowest = np.zeros(1 << TOKEN_BITS, np.uint8), np.zeros(1 << TOKEN_BITS, np.uint16)
    lowest[:TOKENS] = np.searchsorted(tokens, np.arange(TOKENS))
    extra[:TOKENS] = np.where(np.arange(TOKENS) < DIRECT, 0, octave[lowest[:TOKENS]])
    return tokens.astype(np.uint8), extra, lowest


TOKEN, EXTRA, LOWEST = _token_tables()
"""TOKEN (65536,): of a distance. EXTRA and LOWEST (128,): of a token, its plain bits and its smallest distance."""


@dataclass(frozen=True)
class Model:
    """How likely tokens are.

    Attributes:
        bounds: lowest exponent of each class but the last, falling: class 0 has the largest weights.
        frequencies: (classes, 128), each row adding up to `TOTAL`; a token of frequency 0 does not occur.
    """

    bounds: U8
    frequencies: U16

    @property
    def classes(self) -> U8:
        """(256,): the class of an exponent."""
        below = self.bounds[None, :] > np.arange(EXPONENTS)[:, None]
        classes: U8 = np.count_nonzero(below, axis=1).astype(np.uint8)
        return classes

    @property
    def starts(self) -> U16:
        """(classes, 128): the sum of the frequencies before a token's."""
        return (np.cumsum(self.frequencies, 1) - self.frequencies).astype(np.uint16)


def fit(counts: I64, smallest_class: int, every_token: bool) -> Model:
    """The model of counts (256, 128) of (exponent, token).

    Args:
        smallest_class: neighbouring exponents share a class until it has so many values.
        every_token: the counts are a sample: whatever token is below the largest one may occur, in any class.
    """
    bounds = _bounds(counts.sum(1), smallest_class)
    classes = Model(bounds, np.zeros((0, 0), np.uint16)).classes
    merged = np.zeros((len(bounds) + 1, counts.shape[1]), np.int64)
    np.add.at(merged, classes, counts)
    if every_token:
        merged[:, : np.flatnonzero(counts.any(0)).max(initial=0) + 1] += 1
    return Model(bounds, np.stack([_frequencies(row) for row in merged]))


def _bounds(per_exponent: I64, smallest_class: int) -> U8:
    bounds, gathered, left = [], 0, int(per_exponent.sum())
    for exponent in range(EXPONENTS - 1, 0, -1):
        gathered += int(per_exponent[exponent])
        if gathered >= smallest_class and left - gathered >= smallest_class:
            bounds.append(exponent)
            left, gathered = left - gathered, 0
    return np.array(bounds, np.uint8)


def _frequencies(counts: I64) -> U16:
    """Counts (128,) scaled to `TOTAL`; what occurs at all keeps at least 1."""
    total = int(counts.sum())
    if total == 0:
        frequencies = np.zeros(len(counts), np.int64)
        frequencies[0] = TOTAL
        return frequencies.astype(np.uint16)
    frequencies = np.where(counts > 0, np.maximum(1, (2 * counts * TOTAL + total) // (2 * total)), 0)
    while (surplus := int(frequencies.sum()) - TOTAL) != 0:
        most = int(np.argmax(frequencies))
        frequencies[most] -= min(surplus, int(frequencies[most]) // 2)
    return frequencies.astype(np.uint16)
