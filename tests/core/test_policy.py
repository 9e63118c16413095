"""A policy whose names are not the robot's."""

import numpy as np

from fleetloop.core.frame import Observation
from fleetloop.core.policy import under_robot_names
from fleetloop.core.spec import FeatureSpec, PolicySpec

ACTION = FeatureSpec("action", (2,))


class Mirror:
    """Answers with what it sees under its own name."""

    def __init__(self, rename):
        self.spec = PolicySpec((FeatureSpec("pose", (2,)),), ACTION, horizon=1, execute=1, control_hz=10, rename=rename)

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        return np.asarray(observation.state["pose"])[None]


def test_it_sees_the_robots_feature_under_its_own_name():
    observation = Observation({"joints": np.array([1.0, 2.0]), "pose": np.array([9.0, 9.0])}, 0.0)
    policy = under_robot_names(Mirror({"pose": "joints"}))
    chunk = policy.chunk(observation, "go", None, rng=np.random.default_rng(0))
    assert chunk.tolist() == [[1.0, 2.0]]


def test_a_policy_that_agrees_with_the_robot_is_left_as_it_is():
    policy = Mirror({})
    assert under_robot_names(policy) is policy
