"""The seam to a robot."""

from dataclasses import dataclass
from typing import Protocol

from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.spec import RobotSpec
from fleetloop.core.task import Task


@dataclass(frozen=True)
class EpisodeStart:
    """What a reset came to: the instruction as worded for this episode, and how long the reset took (clock seconds)."""

    instruction: str
    reset_s: float


class Robot(Protocol):
    """A robot, real or simulated. One control loop alone calls it.

    Arrays that it hands out belong to the receiver, who may read them later and in another thread: never write to them
    again.
    """

    spec: RobotSpec

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        """Make ready for an attempt; `seed` makes a simulated reset repeatable. May take long, may raise."""
        ...

    def observe(self) -> Observation: ...

    def act(self, action: FloatArray) -> FloatArray:
        """Take an action (A,); returns what was really sent, after the robot's limits."""
        ...

    def close(self) -> None: ...
