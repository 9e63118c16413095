"""Two episodes of a simulated robot with nobody but the person at this terminal; prints how each went, as JSON.

The first ends when the left gripper has gone 3 cm to the right. The second has no judge, so the person must end it.
"""

import json
import sys

from fleetloop.actor.rollout import rollout
from fleetloop.core.clock import Wall
from fleetloop.core.frame import Observation
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.operators.keyboard import KeyboardOperator
from fleetloop.sim.robot import SimRobot
from fleetloop.sim.tasks import sim_task


class GoneRight:
    rank = Judge.SIMULATOR

    def __init__(self) -> None:
        self._start: float | None = None

    def verdict(self, observation: Observation) -> Outcome | None:
        x = float(observation.state["hands"][0, 0])
        self._start = x if self._start is None else self._start
        return Outcome.SUCCESS if x > self._start + 0.03 else None


class Undecided:
    rank = Judge.NOBODY

    def verdict(self, observation: Observation) -> None:
        return None


robot = SimRobot(Wall(), reset_s=0.0)
with KeyboardOperator(KeyboardOperator.Options(), robot) as operator:
    for judge in (GoneRight(), Undecided()):
        result = rollout(robot, None, sim_task("box/walls").task, 1, judge=judge, operator=operator, clock=Wall())
        said = {"outcome": result.outcome, "judge": result.judge, "driven": result.frames_human}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
robot.close()
