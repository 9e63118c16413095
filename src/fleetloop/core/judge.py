"""The seam to a judge: who says, tick by tick, whether the episode has ended and how."""

from typing import Protocol

from fleetloop.core.frame import Observation
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome


class Judge(Protocol):
    """Asked after every tick.

    Attributes:
        rank: in what capacity it judges.
    """

    rank: Rank

    def verdict(self, observation: Observation) -> Outcome | None:
        """How the episode has ended; None while it goes on."""
        ...
