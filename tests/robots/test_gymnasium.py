"""Gymnasium environments as robots: real environments, and small ones for what those do not have."""

import numpy as np
import pytest
from environments import Room
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import ConfigInvalid, RobotTrouble, SpecMismatch
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import OffersStill, RobotKind
from fleetloop.core.task import Site
from fleetloop.robots.gymnasium_options import GymnasiumOptions

EYE = {"eye": "picture"}


def robot(env="Tests/Room-v0", more=(), **options):
    entries = {name: {"env": id, "instruction": f"go to {name}", "time_limit_s": 5} for name, id in (("a", env), *more)}
    values = {"tasks": entries, "success_key": "arrived", "images": EYE if env.startswith("Tests/") else {}, **options}
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
    room, task = robot(more=[("b", "Tests/Room-v0")], images={"eye": "picture", "ceiling": "render"})
    for each in (task, room.tasks(room._options)[1]):
        room.reset(each, 0)
        before = room.env.unwrapped.resets
        room.reset(each, 1)
        assert room.env.unwrapped.resets == before + 1


@pytest.mark.parametrize(("configured", "took"), [(1.0, 3.0), (5.0, 5.0)])
def test_a_reset_that_takes_longer_than_configured_is_said_to(configured, took):
    clock = Virtual()
    tasks = {"a": {"env": "Tests/Slow-v0", "kwargs": {"clock": clock}, "instruction": "wait", "time_limit_s": 5}}
    kind = RobotKind("gymnasium", GymnasiumOptions(tasks=tasks, images=EYE, reset_s=configured))
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


@pytest.mark.parametrize("scaled", [False, True])
@given(arrays.arrays(np.float32, 2, elements=st.floats(-100, 400, width=32)))
def test_of_whole_numbers_the_nearest_are_taken_and_recorded(scaled, action):
    room, task = robot("Tests/Levers-v0", scale_actions=scaled)
    room.reset(task, 0)
    sent, taken = room.act(action), room.env.unwrapped.taken
    if not scaled:
        np.testing.assert_array_equal(taken, np.rint(np.clip(action, [-3, 0], [5, 255])))
        np.testing.assert_array_equal(sent, taken)
    np.testing.assert_array_equal(room.act(sent), sent, err_msg="sending what was sent changes nothing")
    np.testing.assert_array_equal(room.env.unwrapped.taken, taken)


def test_what_would_move_on_is_still_while_nobody_acts():
    room, task = robot(displacements=[0])
    room.reset(task, 0)
    room.act(np.array([0.5, -0.5], np.float32))
    assert room.still().tolist() == [0, -0.5]
    assert isinstance(room, OffersStill)
    as_it_was, _ = robot()
    as_it_was.reset(task, 0)
    as_it_was.act(np.array([0.5, -0.5], np.float32))
    assert as_it_was.still().tolist() == [0.5, -0.5]


def test_limits_of_64_bits_are_kept():
    room, task = robot("Tests/Exact-v0")
    room.reset(task, 0)
    room.act(np.array([-1, 1], np.float32))
    assert room.env.unwrapped.taken.tolist() == [-0.1, 0.1]


def test_an_environment_that_can_not_be_closed_leaves_no_other_open():
    room, _ = robot(more=[("b", "Tests/Room-v0")])
    room.reset(room.tasks(room._options)[1], 0)
    closed = []

    def fail():
        closed.append("b")
        raise RuntimeError("the window is gone")

    first, second = room._envs.values()
    first.close, second.close = lambda: closed.append("a"), fail
    with pytest.raises(RuntimeError, match="the window is gone"):
        room.close()
    assert sorted(closed) == ["a", "b"]


def test_a_choice_is_the_largest_number():
    room, task = robot("Tests/Choice-v0")
    room.reset(task, 0)
    assert room.act(np.array([0.1, 0.9, 0.3], np.float32)).tolist() == [0, 1, 0]
    assert room.env.unwrapped.taken.tolist() == [6, 0]


def test_several_choices_stand_one_after_the_other():
    room, task = robot("Tests/Choices-v0")
    assert room.spec.action.shape == (5,)
    room.reset(task, 0)
    assert room.act(np.array([0.1, 0.9, 0.3, 0.2, 0.1], np.float32)).tolist() == [0, 1, 0, 1, 0]
    assert room.env.unwrapped.taken.tolist() == [6, 0]


def test_a_switch_is_on_from_a_half_on():
    room, task = robot("Tests/Switches-v0")
    assert (room.spec.action.low, room.spec.action.high) == (0, 1)
    room.reset(task, 0)
    assert room.act(np.array([0.49, 0.5], np.float32)).tolist() == [0, 1]
    assert room.env.unwrapped.taken.tolist() == [0, 1]


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
    lasting, task = robot(truncated="success")
    lasting.reset(task, 0)
    assert act_until_it_ends(lasting, [0, 2]) is Outcome.SUCCESS
    assert act_until_it_ends(lasting, [0, 2]) is Outcome.SUCCESS


def test_rewards_may_add_up_to_a_success():
    room, task = robot("Tests/Silent-v0", success_return=1.5)
    for _ in range(2):
        room.reset(task, 0)
        for expected in (None, None, Outcome.SUCCESS):
            room.act(np.zeros(2, np.float32))
            assert room.outcome() is expected


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"env": "Tests/Silent-v0"}, True),
        ({"env": "Tests/Room-v0"}, False),
        ({"env": "Tests/Room-v0", "success_key": "success"}, True),
        ({"env": "Tests/Silent-v0", "success_return": 100}, False),
        ({"env": "Tests/Silent-v0", "truncated": "success"}, False),
    ],
)
def test_an_environment_in_which_nothing_can_succeed_is_told_of_once(options, warned, caplog):
    room, task = robot(**options)
    for _ in range(2):
        room.reset(task, 0)
        assert act_until_it_ends(room, [-1, 0]) is Outcome.FAILURE
    assert caplog.text.count("was not in `info` in a whole episode of a") == warned


def faulty(fault, images=("picture",)):
    tasks = {"a": {"env": "Tests/Faulty-v0", "kwargs": {"fault": fault}, "instruction": "go", "time_limit_s": 5}}
    cameras = {key: key for key in images}
    kind = RobotKind("gymnasium", GymnasiumOptions(tasks=tasks, success_key="arrived", images=cameras))
    return kind.build(Virtual(), Site.simulated(0)), kind.task("a")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("reset", r"robot\.options\.tasks\.a\.env: failed in `reset` \(RuntimeError: the scene can't be laid\)"),
        ("step", r"robot\.options\.tasks\.a\.env: failed in `step` \(RuntimeError: the physics blew up\)"),
        ("grows", r"observation\['place'\]: has the shape \(3,\); its space says \(2,\)"),
        ("nan", r"observation\['place'\]: holds what is no finite number"),
        ("speaks", r"observation\['place'\]: is not what its space says \(ValueError"),
        ("beyond", r"observation\['door'\]: is not what its space says \(IndexError"),
        ("grey", r"observation\['picture'\]: has the shape \(4, 6, 1\); its space says \(4, 6, 3\)"),
        ("words", r"info\['arrived'\]: is 'yes'"),
        ("unsure", r"info\['arrived'\]: is nan"),
    ],
)
def test_what_an_environment_does_wrong_is_trouble_that_a_reset_may_mend(fault, told):
    room, task = faulty(fault)
    with pytest.raises(RobotTrouble, match=told) as caught:
        lived(room, task)
    assert fault not in {"reset", "step"} or isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("render", r"tasks\.a\.env: failed in `render` \(RuntimeError: no screen\)"),
        ("resizes", r"the rendering: has the shape \(9, 8, 3\); its space says \(8, 8, 3\)"),
        ("fades", "the rendering: is float32"),
    ],
)
def test_so_is_what_is_wrong_with_its_rendering(fault, told):
    with pytest.raises(RobotTrouble, match=told):
        lived(*faulty(fault, images=("picture", "render")))


def lived(room, task):
    room.reset(task, 0)
    for _ in range(3):
        room.observe()
        room.act(np.zeros(2, np.float32))
    return room.outcome()


@pytest.mark.parametrize(("said", "outcome"), [("all", Outcome.SUCCESS), ("some", None), ("none", None)])
def test_a_success_of_several_parts_is_one_if_all_are(said, outcome):
    assert lived(*faulty(said)) is outcome


def test_an_image_that_is_named_as_state_is_state():
    room, _ = robot(images={}, state={"pixels": "picture"})
    assert [feature.describe() for feature in room.spec.state] == ["pixels float32[72]"]


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
        ({"displacements": [2]}, ConfigInvalid, "displacements: names 2, and an action has 2 numbers"),
        (
            {"env": "Tests/Choice-v0", "displacements": [0]},
            ConfigInvalid,
            "displacements: the action space is Discrete",
        ),
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
        (
            {"env": "Tests/Undrawn-v0", "images": {"eye": "render"}},
            ConfigInvalid,
            r"robot.options.tasks.a.env: can't be rendered \(DependencyNotInstalled: pygame is not installed, run `pip",
        ),
        (
            {"env": "Tests/Listing-v0", "images": {}},
            SpecMismatch,
            r"observation\['seen'\]: Sequence.* is no fixed number",
        ),
        ({"env": "Tests/Spaceless-v0", "images": {}}, ConfigInvalid, "robot.options.tasks.a.env: can't be used"),
        (
            {"images": {}},
            ConfigInvalid,
            r"observation\['picture'\]: is an image .* 72 numbers; add `images: {picture: ",
        ),
        (
            {"env": "Tests/Grey-v0", "images": {}},
            ConfigInvalid,
            r"observation\['picture'\]: is an image .* 24 numbers; wrap the environment",
        ),
    ],
)
def test_what_does_not_fit_is_named(options, error, told):
    with pytest.raises(error, match=told):
        robot(**options)


def test_environments_of_one_fleet_must_offer_the_same():
    pendulum, _ = robot("Pendulum-v1", more=[("b", "CartPole-v1")])
    other = pendulum.tasks(pendulum._options)[1]
    with pytest.raises(SpecMismatch, match=r"b: offers state float32\[4\].*the first environment state float32\[3\]"):
        pendulum.reset(other, 0)
