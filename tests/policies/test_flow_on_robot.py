"""The numpy policy that robots run is the torch policy that learns."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import ConfigInvalid, ReleaseInvalid
from fleetloop.core.frame import Observation
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.policies.flow import FlowPolicy
from fleetloop.policies.flow_on_robot import FlowOnRobot
from fleetloop.policies.guidance import guided
from fleetloop.sim.robot import SimRobot, sim_spec
from fleetloop.sim.tasks import SIM_TASKS

VECTOR = RobotSpec("arm", (FeatureSpec("joints", (4,)),), FeatureSpec("action", (3,)), 20.0)


def weights_of(policy: FlowPolicy) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in policy.state_dict().items()}


def test_actions_that_are_no_places_are_tied_to_none():
    """Grippers and things are observed, and seven joints a hand are moved."""
    joints = replace(sim_spec(), action=FeatureSpec("joints", (14,)))
    torch.manual_seed(0)
    policy, acting = both(FlowPolicy.build({"width": 16, "depth": 1, "horizon": 4, "execute": 2}, joints))
    robot = SimRobot(Virtual(), 0)
    robot.reset(SIM_TASKS["restock/shelf"].task, 0)
    observation = robot.observe()
    learned, run = (
        one.chunk(observation, "put it there", None, rng=np.random.default_rng(0)) for one in (policy, acting)
    )
    np.testing.assert_allclose(run, learned, rtol=1e-3, atol=1e-3)


HAND_FIELDS = next(feature.fields for feature in sim_spec().state if feature.name == "hands")


@pytest.mark.parametrize(
    "change",
    [
        {"names": None},
        {"mask": None},
        {"names": {"categories": ()}},
        {"hands": {"fields": ("q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7")}},
        {"hands": {"shape": (16,), "fields": HAND_FIELDS * 2}},
    ],
    ids=["no names", "no mask", "names without words", "joints of hands", "hands in one row"],
)
def test_what_other_robots_call_hands_and_entities_is_learned_as_the_numbers_that_they_are(change):
    """Ten actions, as the simulated robot has, and not all that tells where grippers and things are."""
    state = tuple(
        replace(feature, **(change.get(feature.name) or {}))
        for feature in sim_spec().state
        if change.get(feature.name, {}) is not None
    )
    policy, acting = both(FlowPolicy.build({"width": 16, "depth": 1}, replace(sim_spec(), state=state)))
    rng = np.random.default_rng(0)
    seen = {item.name: rng.uniform(0, 2, item.shape).astype(item.dtype) for item in policy.spec.inputs}
    learned, run = (
        one.chunk(Observation(seen, 0.0), "put it there", None, rng=np.random.default_rng(0))
        for one in (policy, acting)
    )
    assert learned.shape == (8, 10)
    np.testing.assert_allclose(run, learned, rtol=1e-3, atol=1e-3)


def both(policy: FlowPolicy) -> tuple[FlowPolicy, FlowOnRobot]:
    with torch.no_grad():
        for tensor in policy.state_dict().values():
            tensor.copy_(tensor + 0.1 * torch.randn(tensor.shape).abs())  # statistics and biases must matter too
    return policy, FlowOnRobot(policy.config, policy.spec, weights_of(policy))


@pytest.mark.parametrize("task", SIM_TASKS)
@pytest.mark.parametrize(("condition", "temperature"), [(None, 0.0), ("positive", 0.7), ("negative", 1.0)])
def test_it_chooses_the_same_actions_in_every_task(task, condition, temperature):
    torch.manual_seed(0)
    robot = SimRobot(Virtual(), 1)
    start = robot.reset(SIM_TASKS[task].task, 3)
    reference, acting = both(FlowPolicy.build({"depth": 2, "pointers": 3, "temperature": temperature}, robot.spec))
    for _ in range(3):
        observation = robot.observe()
        expected = reference.chunk(observation, start.instruction, condition, rng=np.random.default_rng(1))
        chosen = acting.chunk(observation, start.instruction, condition, rng=np.random.default_rng(1))
        np.testing.assert_allclose(chosen, expected, atol=2e-4)
        assert chosen.dtype == np.float32
        robot.act(robot.action())


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_it_is_guided_as_the_reference_is(beta):
    torch.manual_seed(0)
    robot = SimRobot(Virtual(), 1)
    start = robot.reset(SIM_TASKS["restock/shelf"].task, 3)
    observation = robot.observe()
    reference, acting = both(FlowPolicy.build({"depth": 2}, robot.spec))

    def chunk(policy, condition):
        return policy.chunk(observation, start.instruction, condition, rng=np.random.default_rng(1))

    expected = chunk(reference.guided(beta), "positive")
    np.testing.assert_allclose(chunk(acting.guided(beta), "positive"), expected, atol=5e-4)
    plain, without = chunk(acting, "positive"), chunk(acting, None)
    assert np.abs(plain - without).max() > 1e-3
    limits = {0.0: without, 1.0: plain}
    if beta in limits:
        np.testing.assert_allclose(expected, limits[beta], atol=5e-4)
    else:
        assert np.abs(expected - without).mean() > np.abs(plain - without).mean()
    np.testing.assert_array_equal(chunk(acting, "positive"), plain)  # the policy itself is not touched


def test_guidance_of_the_clean_estimate_is_guidance_of_the_velocity():
    rng = np.random.default_rng(0)
    mixed, conditioned, without = rng.normal(size=(3, 8, 10))
    time, beta = 0.4, 2.0
    velocities = [(clean - mixed) / (1 - time) for clean in (without, conditioned)]
    expected = velocities[0] + beta * (velocities[1] - velocities[0])
    clean = guided(lambda one: one, [conditioned, without], beta)
    np.testing.assert_allclose((clean - mixed) / (1 - time), expected)


@pytest.mark.parametrize("kind", [0, 1])
def test_an_unknown_condition_is_named(kind):
    policy = both(FlowPolicy.build({}, VECTOR))[kind]
    observation = Observation({"joints": np.zeros(4, np.float32)}, 0.0)
    with pytest.raises(ConfigInvalid, match=r"'good' is unknown to this policy; known: negative, positive"):
        policy.chunk(observation, "wave", "good", rng=np.random.default_rng(1))


def test_a_condition_that_nobody_has_trained_changes_nothing():
    policy = FlowPolicy.build({}, VECTOR)
    observation = Observation({"joints": np.ones(4, np.float32)}, 0.0)
    chunks = [policy.chunk(observation, "wave", one, rng=np.random.default_rng(1)) for one in (None, "positive")]
    np.testing.assert_array_equal(*chunks)


def test_it_drives_a_robot_without_grippers():
    reference, acting = both(FlowPolicy.build({}, VECTOR))
    observation = Observation({"joints": np.array([0.1, -0.4, 2.0, 0.7], np.float32)}, 0.0)
    expected = reference.chunk(observation, "wave", rng=np.random.default_rng(1))
    np.testing.assert_allclose(acting.chunk(observation, "wave", rng=np.random.default_rng(1)), expected, atol=2e-4)


def test_whichever_tensor_is_missing_it_is_named():
    policy = FlowPolicy.build({}, VECTOR)
    weights = weights_of(policy)
    for missing in weights:
        with pytest.raises(ReleaseInvalid, match=f"tensor {re.escape(missing)}: is missing"):
            FlowOnRobot(policy.config, policy.spec, {name: weights[name] for name in weights if name != missing})


def test_a_robot_that_acts_imports_no_torch():
    code = "import sys, fleetloop.policies.plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
