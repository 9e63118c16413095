"""A policy whose names, and whose pictures, are not the robot's."""

import numpy as np

from fleetloop.core.frame import Observation
from fleetloop.core.picture import resized
from fleetloop.core.policy import under_robot_names
from fleetloop.core.spec import CameraSpec, FeatureSpec, PolicySpec

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


class Watcher:
    """Keeps what it is shown."""

    def __init__(self):
        cameras, rename = (CameraSpec("eye", 4, 3), CameraSpec("top", 8, 12)), {"eye": "wrist"}
        self.spec, self.seen = PolicySpec((), ACTION, 1, 1, 10, cameras, rename), {}

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        self.seen = observation.images
        return np.zeros((1, 2), np.float32)


def test_it_acts_on_pictures_as_small_as_the_learner_made_them():
    policy, rng = Watcher(), np.random.default_rng(0)
    wrist, top = (rng.integers(0, 255, (8, 12, 3), np.uint8) for _ in range(2))
    under_robot_names(policy).chunk(Observation({}, 0.0, {"wrist": wrist, "top": top}), "go", None, rng=rng)
    np.testing.assert_array_equal(policy.seen["eye"], resized(wrist, 4, 3))
    np.testing.assert_array_equal(policy.seen["top"], top)
