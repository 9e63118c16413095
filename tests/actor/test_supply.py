"""A policy that is too slow for its robot says so."""

import numpy as np
import pytest
from slider import POLICY, TASK, CountingPolicy
from stage import Script, Stage

from fleetloop.actor.inference import Pilot, Request, ThreadInference
from fleetloop.core.clock import Virtual
from fleetloop.core.frame import Observation, Source
from fleetloop.core.operator import Drive, HandBack
from fleetloop.core.task import Task

LONG = Task(TASK.id, TASK.instruction, time_limit_s=1e6)
TOO_LATE = POLICY.horizon + 3


class Slow(Stage):
    """Driven by a policy whose chunks come after so many ticks."""

    def __init__(self, root, delay_ticks, operator=None) -> None:
        super().__init__(root, delay_ticks=delay_ticks, operator=operator, tasks=(LONG,))
        self.install(1)

    def ticks(self, count: int) -> str:
        """The alarm after so many more."""
        goal = self.status.frames + count
        self.until(lambda: self.status.frames >= goal)
        return self.status.alarm


def test_a_robot_that_stands_still_for_want_of_actions_raises_an_alarm(tmp_path):
    slow = Slow(tmp_path, TOO_LATE)
    assert not slow.ticks(10)
    alarm = slow.ticks(60)
    assert "inference: a chunk takes 0 ms, its horizon is 400 ms: 40 of the last 48 ticks had no action" in alarm


def test_the_alarm_goes_once_the_policy_keeps_up(tmp_path):
    slow = Slow(tmp_path, TOO_LATE)
    assert slow.ticks(100)
    slow.actor._inference._delay_ticks = 1
    assert not slow.ticks(400)


def test_late_chunks_that_leave_no_gap_are_none_of_it(tmp_path):
    assert not Slow(tmp_path, POLICY.execute).ticks(400)


def test_takeovers_are_none_of_it_either(tmp_path):
    """After each hand-back the robot waits for its first chunk; while a human drives nobody waits for the policy."""
    drive = Drive(np.array([1, 7], np.float32))
    slow = Slow(tmp_path, 2, Script(lambda tick: drive if tick % 20 < 10 else HandBack()))
    slow.attend(1e9)
    slow.clerk.exchange_mail()
    sources = []
    record, slow.recorder.add = slow.recorder.add, lambda frame: sources.append(frame.source) or record(frame)
    assert not slow.ticks(400)
    assert {Source.HUMAN, Source.HOLD, Source.POLICY} == set(sources)


def test_a_chunk_after_a_hand_back_that_never_comes_in_time_is(tmp_path):
    drive = Drive(np.array([1, 7], np.float32))
    slow = Slow(tmp_path, TOO_LATE, Script(lambda tick: drive if tick < 5 else HandBack()))
    slow.attend(1e9)
    slow.clerk.exchange_mail()
    assert slow.ticks(80)


@pytest.mark.parametrize("cost_s", [0.08, 2.5])
def test_what_a_chunk_takes_is_measured(cost_s):
    clock = Virtual()

    class Policy(CountingPolicy):
        def chunk(self, *given, **named):
            clock.advance(cost_s)
            return super().chunk(*given, **named)

    inference, seen = ThreadInference(clock), Observation({"count": np.zeros(1, np.float32)}, 0.0)
    inference.request(Request(Pilot(Policy(), 1, np.random.default_rng(0)), 0, 0, 0, seen, "", None, 0))
    inference.work(0.0)
    assert inference.poll(1) is not None
    assert inference.took_s == pytest.approx(cost_s)
