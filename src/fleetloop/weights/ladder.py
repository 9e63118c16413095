"""Which releases a new one is encoded against, so that a robot that missed any number of them needs few hops."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from fleetloop.weights.block import SMALL, Profile
from fleetloop.weights.codec import BLOCKS, Codec, Encoded, Put, encode
from fleetloop.weights.errors import TensorMismatch
from fleetloop.weights.verified import Known

SPANS = (1, 4, 16)
ANCHOR_EVERY = 16
WORTH = 0.9
"""A delta that takes more than this share of an anchor is left out: who needs it takes the anchor."""


PutFor: TypeAlias = Callable[[int, str], Put | None]
"""What takes the blobs of an encoding, by its base and codec."""


def nowhere(base: int, codec: str) -> None:
    """Blobs are handed to nobody."""


@dataclass(frozen=True, eq=False)
class Rung:
    """A release that others may be encoded against."""

    version: int
    weights: Known


@dataclass
class Ladder:
    """The newest release, the newest whose version is a multiple of 4, and that of 16: three sets of weights to keep,
    where deltas from v-1, v-4 and v-16 would need sixteen. A robot climbs by ones to a multiple of 4, by fours to one
    of 16, and from there it is one hop; from nothing it is an anchor and a hop.
    """

    profile: Profile = SMALL
    codec: Codec = BLOCKS
    _rungs: dict[int, Rung] = field(default_factory=dict)
    _anchor_bytes: int = 0

    def encode(self, weights: Known, version: int, put_for: PutFor = nowhere) -> list[tuple[int, Encoded]]:
        """(base, blobs) of each encoding that the release is to carry, if its version will be `version`.

        Blobs are handed over while others are made, also those of a delta that then is left out.
        """
        deltas = list[tuple[int, Encoded]]()
        for rung in sorted(set(self._rungs.values()), key=lambda rung: rung.version):  # what most wait for is made last
            try:
                put = put_for(rung.version, self.codec.name)
                deltas.insert(0, (rung.version, encode(weights, self.codec, rung.weights, self.profile, put=put)))
            except TensorMismatch:
                continue  # of another architecture: nobody can come from there
        worth = [(base, delta) for base, delta in deltas if delta.size < WORTH * self._anchor_bytes]
        if worth and version % ANCHOR_EVERY:
            return worth
        anchor = encode(weights, self.codec, put=put_for(0, self.codec.name))
        self._anchor_bytes = anchor.size
        return [*((base, delta) for base, delta in deltas if delta.size < WORTH * anchor.size), (0, anchor)]

    def keep(self, version: int, weights: Known) -> None:
        """This is release `version` now."""
        rung = Rung(version, weights)
        for span in SPANS:
            if version % span == 0 or span not in self._rungs:
                self._rungs[span] = rung
