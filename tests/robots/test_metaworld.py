"""Meta-World as robots, in an environment of its own: `make test-extras`."""

import numpy as np
import pytest

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import OffersExpert, OffersOutcome, RobotKind
from fleetloop.core.task import Site, Task

pytestmark = pytest.mark.extras


def kind(**options):
    from fleetloop.robots.metaworld import MetaWorldOptions

    return RobotKind("metaworld", MetaWorldOptions(**options))


@pytest.fixture(scope="module")
def sawyer():
    robot = kind().build(Virtual(), Site.simulated(0))
    yield robot
    robot.close()


def test_it_knows_fifty_tasks_and_offers_its_experts(sawyer):
    assert len(kind().tasks()) == 50
    assert kind().task("metaworld/drawer-open").instruction == "drawer open"
    assert isinstance(sawyer, OffersExpert)
    assert isinstance(sawyer, OffersOutcome)


@pytest.mark.parametrize("name", ["reach", "door-open", "coffee-pull"])
def test_an_expert_does_its_task_and_its_progress_grows(sawyer, name):
    sawyer.reset(kind().task(f"metaworld/{name}"), 1)
    expert, progress = sawyer.expert(), []
    while sawyer.outcome() is None and len(progress) < 150:
        progress.append(expert.progress())
        sent = sawyer.act(expert.action())
        assert (np.abs(sent) <= 1).all()
    assert sawyer.outcome() is Outcome.SUCCESS
    assert progress[-1] > progress[0] + 0.05


def test_a_task_that_it_does_not_have_is_named(sawyer):
    with pytest.raises(ConfigInvalid, match=r"robot.options.tasks.metaworld/fly: is no environment's; known: "):
        sawyer.reset(Task("metaworld/fly", "fly", 10.0), 1)


def test_a_reset_draws_the_scene_from_its_seed(sawyer):
    task = kind().task("metaworld/push")

    def start(seed):
        sawyer.reset(task, seed)
        return sawyer.observe().state["state"]

    np.testing.assert_array_equal(start(3), start(3))
    assert (start(3) != start(4)).any()


def test_noise_makes_the_arm_unsteady_and_repeats_under_a_seed():
    robot = kind(noise=0.3).build(Virtual(), Site.simulated(0))
    task = kind().task("metaworld/reach")

    def lived(seed):
        robot.reset(task, seed)
        for _ in range(5):
            robot.act(np.zeros(4, np.float32))
        return robot.observe().state["state"][:3]

    np.testing.assert_array_equal(lived(1), lived(1))
    assert np.abs(lived(1) - lived(2)).max() > 1e-3
