"""A robot that fails now and then: one glitch costs an episode, not the actor."""

import dataclasses

import numpy as np
import pytest
from slider import ROBOT, Slider, with_camera
from stage import Script, Stage

from fleetloop.core.errors import FleetLoopError, RobotTrouble, SystemMissing
from fleetloop.core.frame import Observation, Source
from fleetloop.core.operator import Drive
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.robot import as_specified
from fleetloop.core.validation import validate

GLITCH = RobotTrouble("/dev/ttyACM0", "no answer from servo 3", "look at its plug")


class Glitchy(Slider):
    """Raises `error` once, when it has got so many actions."""

    def __init__(self, call: str, count: int, error: Exception) -> None:
        super().__init__()
        self.call, self.count, self.error = call, count, error

    def glitch(self, call: str) -> None:
        if self.error and call == self.call and len(self.acted) == self.count and self.seeds:
            error, self.error = self.error, None
            raise error

    def observe(self):
        self.glitch("observe")
        return super().observe()

    def act(self, action):
        self.glitch("act")
        return super().act(action)


@pytest.mark.parametrize("call", ["observe", "act"])
@pytest.mark.parametrize("error", [GLITCH, SystemMissing("bus", "is gone")])
def test_a_glitch_aborts_the_episode_and_the_next_begins_with_a_reset(tmp_path, call, error):
    stage = Stage(tmp_path, robot=Glitchy(call, 7, error))
    stage.install(1)
    stage.until(lambda: stage.status.episodes == 1)
    assert f"robot: {error}" in stage.status.alarm
    assert stage.status.phase == "resetting"
    assert not stage.robot.closed
    aborted, whole = stage.play(1)
    assert (aborted.meta.outcome, aborted.meta.ending.judge, len(aborted)) == (Outcome.ABORTED, Judge.NOBODY, 7)
    assert whole.meta.outcome is Outcome.TIMEOUT
    assert whole.column("clock_s")[0] - aborted.column("clock_s")[-1] > stage.options.reset_retry_s
    assert len(stage.robot.seeds) >= 2
    assert not stage.status.alarm


def test_a_glitch_before_the_first_tick_costs_no_episode(tmp_path):
    stage = Stage(tmp_path, robot=Glitchy("observe", 0, GLITCH))
    stage.install(1)
    stage.until(lambda: "no answer from servo 3" in stage.status.alarm)
    (episode,) = stage.play(1)
    assert episode.meta.outcome is Outcome.TIMEOUT
    assert stage.robot.seeds[0] == stage.robot.seeds[1], "the same attempt once more"


def odd(**values):
    """A robot whose readings are of the seventh tick's `values`, once."""

    class Odd(Slider):
        shown = False

        def observe(self):
            seen = super().observe()
            if len(self.acted) != 7 or self.shown:
                return seen
            self.shown = True
            return dataclasses.replace(seen, **values)

    return Odd(spec=with_camera())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"state": {"count": np.array([np.nan], np.float32)}}, "robot: count: holds numbers that are not finite"),
        ({"state": {"count": np.zeros(3, np.float32)}}, "robot: count: has the shape [3], not [1]"),
        ({"state": {"count": [[1.0, 2.0], [3.0]]}}, "robot: count: is no array"),
        ({"state": {"count": np.array(["a"])}}, "robot: count: holds <U1, no numbers"),
        ({"state": {"count": np.array([1e300])}}, "robot: count: holds float64 that float32 can't hold"),
        ({"state": {}}, "robot: count: is missing"),
        (
            {"images": {"top": np.zeros((10, 10, 3), np.uint8)}},
            "robot: top: has the shape [10, 10, 3], not [16, 24, 3]",
        ),
        ({"images": {}}, "robot: top: is missing"),
        ({"images": {"top": np.zeros((16, 24, 3), np.float32)}}, "robot: top: holds float32, not uint8"),
        ({"images_taken": {}}, "robot: top: has no time in `images_taken`"),
    ],
)
def test_an_odd_reading_is_the_robots_fault_and_no_part_of_the_episode(tmp_path, values, told):
    """Not the release's, which would be refused for it, and not the hub's, which would refuse the whole episode."""
    stage = Stage(tmp_path, robot=odd(**values))
    stage.install(1)
    stage.until(lambda: stage.status.episodes == 1)
    assert told in stage.status.alarm
    aborted, whole = stage.play(1)
    assert (aborted.meta.outcome, len(aborted)) == (Outcome.ABORTED, 7)
    assert whole.meta.outcome is Outcome.TIMEOUT
    assert whole.column("release").tolist() == [1] * len(whole)
    for episode in (aborted, whole):
        validate(episode)


def test_what_was_sent_must_be_numbers(tmp_path):
    class Lying(Slider):
        def act(self, action):
            sent = super().act(action)
            return sent * np.nan if len(self.acted) == 8 and len(self.seeds) == 1 else sent

    stage = Stage(tmp_path, robot=Lying())
    stage.install(1)
    stage.until(lambda: stage.status.episodes == 1)
    assert "robot: action: holds numbers that are not finite" in stage.status.alarm
    aborted, _ = stage.play(1)
    assert (aborted.meta.outcome, len(aborted)) == (Outcome.ABORTED, 7)


def test_any_other_exception_of_the_driver_ends_the_actor(tmp_path):
    stage = Stage(tmp_path, robot=Glitchy("act", 7, ZeroDivisionError()))
    stage.install(1)
    with pytest.raises(ZeroDivisionError):
        stage.until(lambda: stage.status.episodes == 1)


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (np.array([0, np.nan], np.float32), "pool: its action holds numbers that are not finite"),
        (np.zeros(3, np.float32), "pool: its action has the shape [3], not [2]"),
        (["up", "on"], "pool: its action holds <U2, no numbers"),
    ],
)
def test_what_an_operator_sends_that_no_robot_could_do_is_as_if_it_said_nothing(tmp_path, action, told):
    """It is neither the robot's fault, which would be reset, nor part of an episode, which the hub would refuse."""
    good = Drive(np.array([0.25, 0], np.float32))
    stage = Stage(tmp_path, operator=Script({6: good, 7: Drive(action), 8: good}.get))
    stage.install(1)
    stage.attend(1e9)
    stage.until(lambda: told in stage.status.alarm)
    episode, *_ = stage.play(1)
    assert episode.source[5:9].tolist() == [Source.POLICY, Source.HUMAN, Source.HOLD, Source.HUMAN]
    assert episode.action[6:8].tolist() == [[0.25, 0], [0.25, 0]]
    assert not stage.status.alarm
    validate(episode)


def test_an_operators_odd_action_is_no_alarm_of_the_next_episode(tmp_path):
    odd = Drive(np.zeros(3, np.float32))
    stage = Stage(tmp_path, operator=Script(lambda tick: odd if tick == 7 and len(stage.robot.seeds) == 1 else None))
    stage.install(1)
    stage.attend(1e9)
    stage.until(lambda: "its action has the shape" in stage.status.alarm)
    stage.play(1)
    stage.until(lambda: stage.status.phase == "running")
    assert not stage.status.alarm


def test_what_the_operator_raises_is_not_taken_for_the_robots(tmp_path):
    def gone(tick):
        raise SystemMissing("keyboard", "the terminal is gone")

    stage = Stage(tmp_path, operator=Script(gone))
    stage.install(1)
    with pytest.raises(FleetLoopError, match="the terminal is gone") as caught:
        stage.until(lambda: stage.status.episodes == 1)
    assert not isinstance(caught.value, RobotTrouble)


def test_the_policy_acts_on_what_is_recorded():
    """A driver that measures in 64 bits: 0.1 is another number in 32."""
    seen = Observation({"count": np.array([0.1])}, 0.0)
    shown = as_specified(ROBOT, seen).state["count"]
    assert (shown.dtype, shown.tolist()) == (np.float32, np.array([0.1], np.float32).tolist())
    whole = dataclasses.replace(ROBOT, state=(dataclasses.replace(ROBOT.state[0], dtype="int64"),))
    assert as_specified(whole, Observation({"count": np.array([3.0])}, 0.0)).state["count"].dtype == np.int64
    with pytest.raises(RobotTrouble, match="count: holds float64 that int64 can't hold"):
        as_specified(whole, seen)
