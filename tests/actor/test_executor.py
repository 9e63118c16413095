"""The chunk executor: no action is ever played at another tick than its own, nor after its epoch."""

from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from slider import ACTION, COUNT, HZ

from fleetloop.actor.executor import ChunkExecutor
from fleetloop.actor.inference import Answer, ImmediateInference, Pilot, infer
from fleetloop.core.frame import Observation
from fleetloop.core.spec import PolicySpec


class TickPolicy:
    """Its action for a tick is (that tick, the epoch of the observation)."""

    def __init__(self, horizon, execute):
        self.spec = PolicySpec((COUNT,), ACTION, horizon, execute, HZ)
        self.prefixes = []

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        self.prefixes.append((prefix, delay))
        tick, epoch = observation.state["tick"]
        ahead = tick + np.arange(self.spec.horizon, dtype=np.float32)
        return np.stack([ahead, np.full_like(ahead, epoch)], axis=1)


class LateInference:
    """Each answer takes as many ticks as the test says."""

    def __init__(self, delays):
        self.delays, self.waiting = deque(delays), None

    @property
    def busy(self):
        return self.waiting is not None

    def request(self, request):
        assert not self.busy
        self.waiting = (self.delays[0], infer(request))
        self.delays.rotate(-1)

    def poll(self, tick):
        if self.waiting is None or tick < self.waiting[1].chunk.tick + self.waiting[0]:
            return None
        answer: Answer = self.waiting[1]
        self.waiting = None
        return answer


def seen(tick, epoch):
    return Observation({"tick": np.array([tick, epoch], np.float32)}, taken=tick / HZ)


def pilot(policy):
    return Pilot(policy, 1, np.random.default_rng(0))


@settings(max_examples=300, deadline=None)
@given(
    horizon=st.integers(1, 12),
    share=st.floats(0.1, 1.0),
    lead=st.integers(0, 5),
    delays=st.lists(st.integers(0, 20), min_size=1, max_size=6),
    steps=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=80),
)
def test_an_action_is_played_at_its_own_tick_and_in_its_own_epoch_or_never(horizon, share, lead, delays, steps):
    executor = ChunkExecutor(LateInference(delays), lead)
    executor.start(pilot(TickPolicy(horizon, max(1, int(horizon * share)))), "go")
    tick, newest = 0, -1
    for advance, takeover in steps:
        if takeover:
            executor.raise_epoch()
        due = executor.advance(tick, seen(tick, executor.epoch))
        if due is not None:
            assert due.action.tolist() == [tick, executor.epoch]
            assert 0 <= due.chunk_index < horizon
            assert due.chunk_id >= newest
            newest = due.chunk_id
        tick += advance


@settings(max_examples=100, deadline=None)
@given(execute=st.integers(1, 8), lead=st.integers(0, 4), delay=st.integers(0, 4))
def test_with_slack_beyond_what_is_executed_no_tick_is_without_an_action(execute, lead, delay):
    executor = ChunkExecutor(ImmediateInference(delay), lead)
    policy = TickPolicy(execute + 2 * delay, execute)
    executor.start(pilot(policy), "go")
    waited = 0
    while not executor.await_first(waited, seen(0, executor.epoch)):
        waited += 1
    played = [executor.advance(tick, seen(tick, executor.epoch)) for tick in range(60)]
    assert None not in played, "the slack up to the horizon covers what the lead does not"
    assert (played[0].chunk_index, played[0].chunk_id) == (0, 0)


def test_a_jitter_below_the_lead_changes_nothing():
    def play(delays):
        executor = ChunkExecutor(LateInference(delays), lead=3)
        executor.start(pilot(TickPolicy(12, 6)), "go")
        while not executor.await_first(20, seen(0, executor.epoch)):
            pass
        return [(due.chunk_id, due.chunk_index) for t in range(60) if (due := executor.advance(t, seen(t, 1)))]

    assert play([0, 3, 1, 2]) == play([3]) == play([1])


def test_an_answer_of_the_episode_before_is_not_taken_for_one_of_this():
    inference = LateInference([5])
    executor = ChunkExecutor(inference, lead=2)
    policy = TickPolicy(12, 6)
    executor.start(pilot(policy), "first")
    executor.advance(0, seen(0, executor.epoch))
    executor.start(pilot(policy), "second")
    played = [executor.advance(tick, seen(tick, executor.epoch)) for tick in range(14)]
    assert all(due.action[1] == executor.epoch for due in played if due)
    assert played[13] is not None


def test_how_long_the_first_answer_took_is_no_delay_of_the_next():
    """The robot stood still meanwhile: nothing of the first chunk has to be played again."""
    executor, policy = ChunkExecutor(LateInference([20, 1]), lead=1), TickPolicy(10, 5)
    executor.start(pilot(policy), "go")
    waited = 0
    while not executor.await_first(waited, seen(0, 1)):
        waited += 1
    assert waited >= 20
    for tick in range(8):
        executor.advance(tick, seen(tick, 1))
    (_, first), (_, second) = policy.prefixes[:2]
    assert (first, second) == (0, 1)


def test_an_immediate_answer_of_the_episode_before_does_not_hold_up_the_next():
    executor = ChunkExecutor(ImmediateInference(1), lead=2)
    policy = TickPolicy(8, 4)
    for _ in range(2):
        executor.start(pilot(policy), "go")
        waited = 0
        while not executor.await_first(waited, seen(0, executor.epoch)):
            waited += 1
        assert waited <= 1
        for tick in range(11):  # at tick 10 it asks, and is not answered any more
            executor.advance(tick, seen(tick, executor.epoch))


def test_a_chunk_that_comes_after_its_horizon_is_never_played():
    executor = ChunkExecutor(LateInference([9]), lead=2)
    executor.start(pilot(TickPolicy(horizon=8, execute=4)), "go")
    assert [executor.advance(tick, seen(tick, executor.epoch)) for tick in range(40)] == [None] * 40


def test_the_policy_is_told_what_is_under_way():
    executor = ChunkExecutor(ImmediateInference(1), lead=2)
    policy = TickPolicy(8, 4)
    executor.start(pilot(policy), "go")
    executor.await_first(0, seen(0, 1))
    for tick in range(4):
        executor.advance(tick, seen(tick, 1))
    (none, _), (prefix, delay) = policy.prefixes
    assert none is None
    assert prefix[:, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert delay == 2
