"""The seam to a judge: who says, tick by tick, whether the episode has ended and how."""

from dataclasses import dataclass
from typing import Any, Protocol

from fleetloop.core.frame import Observation
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome
from fleetloop.core.plugins import plugin
from fleetloop.core.robot import Robot


class Judge(Protocol):
    """Asked after every tick.

    Attributes:
        rank: in what capacity it judges.
    """

    rank: Rank

    def verdict(self, observation: Observation) -> Outcome | None:
        """How the episode has ended; None while it goes on."""
        ...


@dataclass(frozen=True)
class JudgeKind:
    """A judge plug-in and its options; another process can be sent it.

    Attributes:
        name: by its entry point in fleetloop.judges.
        options: an instance of the plug-in's `Options`; None if it has none.
    """

    name: str = "simulator"
    options: Any = None

    def build(self, robot: Robot) -> Judge:
        """Raises UnknownName, PluginBroken, and what the plug-in raises of a robot that it can't judge."""
        return plugin("judges", self.name)(self.options, robot)  # type: ignore[no-any-return]


SIMULATOR = JudgeKind()
