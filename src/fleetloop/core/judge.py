"""The seam to a judge: who says, tick by tick, whether the episode has ended and how."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fleetloop.core.frame import Observation
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome
from fleetloop.core.plugins import making, plugin
from fleetloop.core.robot import Robot
from fleetloop.core.task import Task


class Judge(Protocol):
    """Asked after every tick; never blocks.

    Attributes:
        rank: in what capacity it judges.
    """

    rank: Rank

    def verdict(self, observation: Observation) -> Outcome | None:
        """How the episode has ended; None while it goes on."""
        ...


@runtime_checkable
class Briefed(Protocol):
    """A judge that is told what it judges."""

    def start(self, task: Task, instruction: str) -> None:
        """A new episode begins, told to the robot in these words: nothing of the last counts any more."""
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
        kind = plugin("judges", self.name)
        with making("judges", self.name):
            return kind(self.options, robot)  # type: ignore[no-any-return]


SIMULATOR = JudgeKind()
