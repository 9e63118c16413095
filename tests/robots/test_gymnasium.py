"""Gymnasium environments as robots: real environments, and small ones for what those do not have."""

from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import ConfigInvalid, SpecMismatch
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import RobotKind
from fleetloop.core.task import Site
from fleetloop.robots.gymnasium import GymnasiumOptions


class Room(gymnasium.Env):
    """Walk to the door: what is seen is a dictionary with a picture in it; walking out on the other side ends it."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-10, 10, (2,), np.float64),
            "door": spaces.Discrete(3),
            "picture": spaces.Box(0, 255, (4, 6, 3), np.uint8),
        }
    )
    action_space = spaces.Box(np.array([-1, -2], np.float32), np.array([3, 2], np.float32))
    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        self._picture = np.zeros((4, 6, 3), np.uint8)
        self.steps = 0
        self.resets = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets += 1
        self.place = self.np_random.uniform(-1, 1, 2)
        return self._seen(), {}

    def step(self, action):
        self.steps += 1
        self.taken = action
        self.place = self.place + action
        return self._seen(), 0.5, bool(self.place[0] < -5), bool(self.place[1] > 5), {"arrived": self.place[0] > 5}

    def render(self):
        return np.full((8, 8, 3), 7, np.uint8)

    def _seen(self):
        self._picture += 1
        return {"place": self.place, "door": 2, "picture": self._picture}


class Choice(Room):
    action_space = spaces.Discrete(3, start=5)

    def step(self, action):
        return super().step(np.array([action, 0.0]))


class Pair(Room):
    action_space = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))


class Bright(Room):
    """Its pictures are of brightness, 0 to 1."""

    observation_space = spaces.Dict({"picture": spaces.Box(0, 1, (4, 6, 3), np.float32)})

    def render(self):
        return np.full((8, 8, 3), 0.7, np.float32)


class Slow(Room):
    """Takes 3 s of a clock to reset."""

    def __init__(self, clock, render_mode=None):
        super().__init__(render_mode)
        self._clock = clock

    def reset(self, *, seed=None, options=None):
        self._clock.sleep_until(self._clock.now() + 3)
        return super().reset(seed=seed)


for kind in (Room, Choice, Pair, Bright, Slow):
    gymnasium.register(f"Tests/{kind.__name__}-v0", entry_point=kind)


def robot(env="Tests/Room-v0", more=(), **options):
    entries = {name: {"env": id, "instruction": f"go to {name}", "time_limit_s": 5} for name, id in (("a", env), *more)}
    values = {"tasks": entries, "success_key": "arrived", **options}
    kind = RobotKind("gymnasium", GymnasiumOptions.model_validate(values))
    return kind.build(Virtual(), Site.simulated(0)), kind.task("a")


def act_until_it_ends(robot, action):
    for _ in range(20):
        robot.act(np.array(action, np.float32))
        if robot.outcome() is not None:
            return robot.outcome()
    return None


def test_a_box_observation_is_one_feature_and_a_seed_repeats_the_episode():
    pendulum, task = robot("Pendulum-v1")
    assert [feature.describe() for feature in pendulum.spec.state] == ["state float32[3]"]
    assert (pendulum.spec.action.low, pendulum.spec.action.high) == (-2, 2)

    def lived(seed):
        assert pendulum.reset(task, seed).instruction == "go to a"
        pendulum.act(np.ones(1, np.float32))
        return pendulum.observe().state["state"]

    np.testing.assert_array_equal(lived(3), lived(3))
    assert (lived(3) != lived(4)).any()


def test_the_keys_of_a_dictionary_are_features_and_its_pictures_cameras():
    room, task = robot(images={"eye": "picture", "ceiling": "render"})
    assert [feature.describe() for feature in room.spec.state] == ["door float32[3]", "place float32[2]"]
    assert [(camera.name, camera.height, camera.width) for camera in room.spec.cameras] == [
        ("eye", 4, 6),
        ("ceiling", 8, 8),
    ]
    room.reset(task, 0)
    before = room.observe()
    assert before.state["door"].tolist() == [0, 0, 1]
    assert (before.images["ceiling"] == 7).all()
    kept = before.images["eye"].copy()
    room.act(np.zeros(2, np.float32))
    np.testing.assert_array_equal(before.images["eye"], kept, err_msg="what was handed out is never written to again")
    assert (room.observe().images["eye"] != kept).all()


def test_a_rendering_camera_costs_no_reset_of_the_episodes():
    room, task = robot(more=[("b", "Tests/Room-v0")], images={"ceiling": "render"})
    for each in (task, room.tasks(room._options)[1]):
        room.reset(each, 0)
        before = room.env.unwrapped.resets
        room.reset(each, 1)
        assert room.env.unwrapped.resets == before + 1


@pytest.mark.parametrize(("configured", "took"), [(1.0, 3.0), (5.0, 5.0)])
def test_a_reset_that_takes_longer_than_configured_is_said_to(configured, took):
    clock = Virtual()
    tasks = {"a": {"env": "Tests/Slow-v0", "kwargs": {"clock": clock}, "instruction": "wait", "time_limit_s": 5}}
    kind = RobotKind("gymnasium", GymnasiumOptions.model_validate({"tasks": tasks, "reset_s": configured}))
    slow, began = kind.build(clock, Site.simulated(0)), clock.now()
    assert slow.reset(kind.task("a"), 0).reset_s == took
    assert clock.now() == began + took


def test_state_features_may_be_chosen_and_renamed():
    room, _ = robot(state={"position": "place"})
    assert [feature.name for feature in room.spec.state] == ["position"]


@given(arrays.arrays(np.float32, 2, elements=st.floats(-100, 100, width=32)), st.booleans())
def test_what_is_sent_lies_within_the_limits_and_is_what_was_taken(action, scaled):
    room, task = robot(scale_actions=scaled)
    room.reset(task, 0)
    sent = room.act(action)
    low, high = Room.action_space.low, Room.action_space.high
    if scaled:
        assert (np.abs(sent) <= 1).all()
        np.testing.assert_allclose(room.env.unwrapped.taken, low + (sent + 1) / 2 * (high - low), atol=1e-6)
    else:
        np.testing.assert_array_equal(sent, np.clip(action, low, high))
        np.testing.assert_array_equal(room.env.unwrapped.taken, sent)
    np.testing.assert_array_equal(room.act(sent), sent, err_msg="sending what was sent changes nothing")


def test_a_choice_is_the_largest_number():
    room, task = robot("Tests/Choice-v0")
    room.reset(task, 0)
    assert room.act(np.array([0.1, 0.9, 0.3], np.float32)).tolist() == [0, 1, 0]
    assert room.env.unwrapped.taken.tolist() == [6, 0]


def test_how_an_episode_ended():
    room, task = robot()
    room.reset(task, 0)
    assert room.outcome() is None
    assert act_until_it_ends(room, [3, 0]) is Outcome.SUCCESS
    room.reset(task, 0)
    assert room.outcome() is None, "a reset forgets"
    assert act_until_it_ends(room, [-1, 0]) is Outcome.FAILURE
    room.reset(task, 0)
    assert act_until_it_ends(room, [0, 2]) is Outcome.TIMEOUT
    lenient, task = robot(terminated="success")
    lenient.reset(task, 0)
    assert act_until_it_ends(lenient, [-1, 0]) is Outcome.SUCCESS


def test_an_environment_that_has_ended_stands_still():
    room, task = robot()
    room.reset(task, 0)
    act_until_it_ends(room, [3, 0])
    steps = room.env.unwrapped.steps
    room.act(np.zeros(2, np.float32))
    assert room.env.unwrapped.steps == steps


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"env": "Tests/Pair-v0"}, SpecMismatch, "action: the action space is Tuple"),
        ({"env": "Tests/Choice-v0", "scale_actions": True}, SpecMismatch, "has no limits to stretch to"),
        (
            {"state": {"place": "plaec"}},
            ConfigInvalid,
            "'plaec' is no key of the observation; known: 'door', 'picture', 'place'",
        ),
        ({"images": {"eye": "place"}}, SpecMismatch, r"image 'place': has the shape \[2\]"),
        ({"env": "Tests/Bright-v0", "images": {"eye": "picture"}}, SpecMismatch, "image 'picture': is float32; wrap"),
        ({"env": "Tests/Bright-v0", "images": {"eye": "render"}}, SpecMismatch, "image 'render': is float32; wrap"),
        ({"images": {"eye": "nothing"}}, ConfigInvalid, "'nothing' is no key"),
        ({"env": "Tests/Nowhere-v0"}, ConfigInvalid, "robot.options.tasks.a.env: can't be made"),
        ({"env": "no_such_module:Env-v0"}, ConfigInvalid, "robot.options.tasks.a.env: can't be made"),
    ],
)
def test_what_does_not_fit_is_named(options, error, told):
    with pytest.raises(error, match=told):
        robot(**options)


def test_environments_of_one_fleet_must_offer_the_same():
    room, _ = robot(more=[("b", "Pendulum-v1")])
    other = room.tasks(room._options)[1]
    with pytest.raises(SpecMismatch, match=r"b: offers state float32\[3\].*the first environment door"):
        room.reset(other, 0)
