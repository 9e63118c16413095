"""A simulated robot made ready for single episodes: told other words on request, timed, driven by its expert."""

import time
from collections.abc import Callable

from fleetloop.core.clock import Virtual
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.operator import Drive, View
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.task import Task
from fleetloop.sim.robot import SimRobot
from fleetloop.sim.scene import Disturbance


class Stage:
    """A robot whose episodes may be worded otherwise. Implements core's Robot.

    Attributes:
        robot: the simulated robot behind it.
        instruction: the words for the next episode; empty for the scene's own.
        began_cpu_s: CPU seconds of this process when the last reset ended.
    """

    def __init__(self, site: int, disturbance: Disturbance, image_px: int = 0) -> None:
        self.robot = SimRobot(Virtual(), site, disturbance=disturbance, image_px=image_px, reset_s=0.0)
        self.spec = self.robot.spec
        self.instruction = ""
        self.began_cpu_s = 0.0

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        start = self.robot.reset(task, seed)
        self.began_cpu_s = time.process_time()
        return EpisodeStart(self.instruction or start.instruction, start.reset_s)

    def observe(self) -> Observation:
        return self.robot.observe()

    def act(self, action: FloatArray) -> FloatArray:
        return self.robot.act(action)

    def close(self) -> None:
        self.robot.close()

    def other_instruction(self, task: Task, seeds: Callable[[int], int], tries: int = 20) -> str:
        """What this task says under another seed than `seeds(0)`; its own words if it never says anything else."""
        own = self.robot.reset(task, seeds(0)).instruction
        for number in range(1, tries):
            other = self.robot.reset(task, seeds(number)).instruction
            if other != own:
                return other
        return own


class ExpertOperator:
    """Drives from the first tick to the last, as the scene's scripted expert says: privileged."""

    name = "expert"
    wants_attention = False

    def __init__(self, robot: SimRobot) -> None:
        self._robot = robot

    def start(self, instruction: str) -> None:
        """Nothing to do: the expert knows the task."""

    def watch(self, view: View) -> Drive:
        return Drive(self._robot.action())
