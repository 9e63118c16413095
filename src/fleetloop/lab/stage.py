"""A robot made ready for single episodes: told other words on request, timed, driven by its own expert."""

import time
from collections.abc import Callable

from fleetloop.core.errors import SpecMismatch
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.operator import Drive, View
from fleetloop.core.robot import EpisodeStart, OffersExpert, Robot
from fleetloop.core.task import Task


class Stage:
    """A robot whose episodes may be worded otherwise. Implements core's Robot.

    Attributes:
        instruction: the words for the next episode; empty for the robot's own.
        began_cpu_s: CPU seconds of this process when the last reset ended.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot, self.spec = robot, robot.spec
        self.instruction = ""
        self.began_cpu_s = 0.0

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        start = self._robot.reset(task, seed)
        self.began_cpu_s = time.process_time()
        return EpisodeStart(self.instruction or start.instruction, start.reset_s)

    def observe(self) -> Observation:
        return self._robot.observe()

    def act(self, action: FloatArray) -> FloatArray:
        return self._robot.act(action)

    def close(self) -> None:
        self._robot.close()

    def other_instruction(self, task: Task, seeds: Callable[[int], int], tries: int = 20) -> str:
        """What this task says under another seed than `seeds(0)`; empty if it never says anything else."""
        own = self._robot.reset(task, seeds(0)).instruction
        for number in range(1, tries):
            other = self._robot.reset(task, seeds(number)).instruction
            if other != own:
                return other
        return ""


class ExpertOperator:
    """Drives from the first tick to the last, as the robot's own expert says: privileged.

    Raises:
        SpecMismatch: if the robot has none.
    """

    name = "expert"
    wants_attention = False

    def __init__(self, robot: Robot) -> None:
        if not isinstance(robot, OffersExpert):
            raise SpecMismatch("robot", "has no expert of its own", "demonstrate with your teleoperation instead")
        self._expert = robot.expert()

    def start(self, instruction: str) -> None:
        """Nothing to do: the expert knows the task."""

    def watch(self, view: View) -> Drive:
        return Drive(self._expert.action())
