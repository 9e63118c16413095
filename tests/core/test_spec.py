"""Which robots a policy fits."""

from dataclasses import replace
from typing import Any

import pytest
from episodes_drawn import specs
from hypothesis import given

from fleetloop.core.errors import SpecMismatch
from fleetloop.core.spec import CameraSpec, FeatureSpec, PolicySpec, RobotSpec, check_fit

HANDS = FeatureSpec("hands", (4,))
WORDS = FeatureSpec("item", (1,), "int32", categories=("can", "box"))
ACTION = FeatureSpec("hands", (2,))
ROBOT = RobotSpec(
    "arm", (HANDS, WORDS, FeatureSpec("truth", (1,), label=True)), ACTION, 20, (CameraSpec("top", 96, 96),)
)
POLICY = PolicySpec((HANDS, WORDS), ACTION, horizon=8, execute=4, control_hz=20, cameras=(CameraSpec("top", 48, 48),))


def test_a_fitting_robot_is_taken() -> None:
    check_fit(ROBOT, POLICY)
    check_fit(ROBOT, replace(POLICY, inputs=(replace(HANDS, name="arms"),), rename={"arms": "hands"}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": (FeatureSpec("hands", (5,)),)}, ["hands", "[5]", "[4]"]),
        ({"inputs": (FeatureSpec("hands", (4,), "int32"),)}, ["int32", "float32"]),
        ({"inputs": (FeatureSpec("feet", (4,)),)}, ["feet", "hands, item"]),
        ({"inputs": (FeatureSpec("truth", (1,)),)}, ["truth"]),
        ({"inputs": (replace(WORDS, categories=("box", "can")),)}, ["('box', 'can')", "('can', 'box')"]),
        ({"cameras": (CameraSpec("wrist", 9, 9),)}, ["wrist", "top"]),
        ({"action": FeatureSpec("hands", (3,))}, ["[3]", "[2]"]),
        ({"control_hz": 30}, ["30 Hz", "20 Hz"]),
    ],
)
def test_a_misfit_is_refused_with_both_sides(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SpecMismatch) as error:
        check_fit(ROBOT, replace(POLICY, **change))
    for word in words:
        assert word in str(error.value)


ARM = FeatureSpec("joints", (3,), unit="rad", fields=("shoulder", "elbow", "wrist"))


@pytest.mark.parametrize("side", ["state", "action"])
@pytest.mark.parametrize(
    ("robots", "words"),
    [
        ({"unit": "deg"}, ["joints: ", "rad", "deg"]),
        ({"fields": ("shoulder", "wrist", "elbow")}, ["joints[1]: ", "elbow, of shoulder", "wrist, of shoulder"]),
    ],
)
def test_numbers_that_mean_something_else_are_refused(side: str, robots: dict[str, Any], words: list[str]) -> None:
    other = replace(ARM, **robots)
    robot = replace(ROBOT, state=(other if side == "state" else ARM,), action=other if side == "action" else ARM)
    with pytest.raises(SpecMismatch) as error:
        check_fit(robot, PolicySpec((ARM,), ARM, horizon=8, execute=4, control_hz=20))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("says_less", [{"unit": ""}, {"fields": ()}, {"low": -1.0, "high": 1.0}])
def test_a_side_that_names_no_unit_or_fields_fits(says_less: dict[str, Any]) -> None:
    other = replace(ARM, **says_less)
    for robots, policys in ((other, ARM), (ARM, other)):
        robot = replace(ROBOT, state=(robots,), action=robots)
        check_fit(robot, PolicySpec((policys,), policys, horizon=8, execute=4, control_hz=20))


@pytest.mark.parametrize("execute", [0, 9])
def test_a_policy_plays_no_more_actions_than_there_are(execute: int) -> None:
    with pytest.raises(SpecMismatch, match=f"execute: the policy plays {execute} of the 8 actions"):
        replace(POLICY, execute=execute)
    with pytest.raises((SpecMismatch, ValueError), match="execute"):
        PolicySpec.from_json({**POLICY.to_json(), "execute": execute})
    assert replace(POLICY, execute=8).execute == 8


@given(specs)
def test_a_spec_and_its_hash_survive_json(spec: RobotSpec) -> None:
    assert RobotSpec.from_json(spec.to_json()) == spec
    assert RobotSpec.from_json(spec.to_json()).hash() == spec.hash()


def test_every_part_of_a_spec_changes_its_hash() -> None:
    others = [
        replace(ROBOT, embodiment="leg"),
        replace(ROBOT, control_hz=21),
        replace(ROBOT, cameras=()),
        replace(ROBOT, state=ROBOT.state[::-1]),
        replace(ROBOT, action=replace(ACTION, low=-1.0)),
    ]
    assert len({spec.hash() for spec in [ROBOT, *others]}) == 6
