"""What all experts share."""

import numpy as np
import pytest

from fleetloop.core.clock import Virtual
from fleetloop.sim.robot import SimRobot
from fleetloop.sim.tasks import SIM_TASKS


@pytest.mark.parametrize("id", ["restock/shelf", "laundry/fold", "box/assemble"])
def test_while_somebody_else_drives_the_advice_is_a_matter_of_the_scene_alone(id: str):
    """Else its stuck timer would now and then advise a retreat, and corrections would contradict each other."""
    robot = SimRobot(Virtual(), reset_s=0.0)
    robot.reset(SIM_TASKS[id].task, 3)
    stay = robot.action()
    advice = []
    for _ in range(200):
        robot.act(stay)
        advice.append(robot.action())
    assert np.allclose(advice[50:], advice[50], atol=0.005)
    robot.close()


def test_an_expert_that_is_stuck_itself_backs_off():
    robot = SimRobot(Virtual(), reset_s=0.0)
    robot.reset(SIM_TASKS["box/walls"].task, 3)
    heights = []
    for _ in range(150):
        advice = robot.action()
        heights.append(advice[2])
        robot.act(advice)
        robot.scene.data.qpos[robot.scene._qpos] = 0.4  # the walls won't stay up
    assert max(heights[60:]) > 0.2, "it rises, to come at them anew"
    robot.close()
