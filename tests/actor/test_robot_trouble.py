"""A robot that fails now and then: one glitch costs an episode, not the actor."""

import pytest
from slider import Slider
from stage import Script, Stage

from fleetloop.core.errors import FleetLoopError, RobotTrouble, SystemMissing
from fleetloop.core.outcome import Judge, Outcome

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


def test_any_other_exception_of_the_driver_ends_the_actor(tmp_path):
    stage = Stage(tmp_path, robot=Glitchy("act", 7, ZeroDivisionError()))
    stage.install(1)
    with pytest.raises(ZeroDivisionError):
        stage.until(lambda: stage.status.episodes == 1)


def test_what_the_operator_raises_is_not_taken_for_the_robots(tmp_path):
    def gone(tick):
        raise SystemMissing("keyboard", "the terminal is gone")

    stage = Stage(tmp_path, operator=Script(gone))
    stage.install(1)
    with pytest.raises(FleetLoopError, match="the terminal is gone") as caught:
        stage.until(lambda: stage.status.episodes == 1)
    assert not isinstance(caught.value, RobotTrouble)
