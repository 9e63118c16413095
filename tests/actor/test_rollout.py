"""Rollouts: one episode with the actor's own executor and handover, recorded on request."""

from dataclasses import replace

import numpy as np
import pytest
from slider import COUNT, HZ, TASK, CountingPolicy, Never, Slider, SucceedsAt, with_camera

from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.actor.rollout import rollout
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode, EpisodeMeta
from fleetloop.core.errors import ReleaseInvalid, UnknownName
from fleetloop.core.frame import Source
from fleetloop.core.operator import Drive
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import seal


class Driver:
    """Always drives, to the negative side."""

    name, wants_attention = "expert", True

    def start(self, instruction):
        pass

    def watch(self, view):
        return Drive(np.array([-view.tick, -1], np.float32))


@pytest.mark.parametrize("delay", [0, 1, 2, 3])
def test_every_action_is_played_at_its_own_tick_whatever_inference_takes(delay):
    robot = Slider()
    result = rollout(robot, CountingPolicy(), TASK, 0, judge=Never(), inference_delay_ticks=delay)
    assert result.outcome is Outcome.TIMEOUT
    assert result.ticks == TASK.time_limit_s * HZ
    assert [action[0] for action in robot.acted] == list(range(40))


def test_a_judge_ends_it_and_is_named():
    result = rollout(Slider(), CountingPolicy(), TASK, 3, judge=SucceedsAt(10))
    assert (result.outcome, result.judge, result.ticks) == (Outcome.SUCCESS, Judge.SIMULATOR, 11)


class ThirdTick:
    """Ends an episode at the third tick that it sees of it."""

    rank = Judge.CLASSIFIER

    def __init__(self):
        self.heard, self.seen = [], 0

    def start(self, task, instruction):
        self.heard.append((task.id, instruction))
        self.seen = 0

    def verdict(self, observation):
        self.seen += 1
        return Outcome.FAILURE if self.seen == 3 else None


def test_a_judge_is_told_that_an_episode_begins_and_what_is_to_be_done_in_it():
    judge, tasks = ThirdTick(), [replace(TASK, id="slide/fast"), replace(TASK, id="slide/slowly")]
    ended = [rollout(Slider(), CountingPolicy(), task, 0, judge=judge) for task in tasks]
    assert [result.ticks for result in ended] == [3, 3]
    assert judge.heard == [(task.id, result.instruction) for task, result in zip(tasks, ended, strict=True)]


def test_an_operator_alone_records_a_demonstration(tmp_path):
    robot, disk = Slider(spec=with_camera()), RealDisk()
    meta = EpisodeMeta("01ARZ3NDEKTSV4RRFFQ69G5FAV", "r", "a", "s", TASK.id, "?", "demonstration", robot.spec)

    def record(start):
        return EpisodeWriter(disk, tmp_path, meta, jpeg_quality=90)

    result = rollout(robot, None, TASK, 0, judge=SucceedsAt(10), operator=Driver(), record=record)
    sealed = seal(disk, tmp_path / f"{meta.id}.partial")
    assert sealed.meta.outcome is Outcome.SUCCESS
    assert (result.frames_human, result.interventions) == (11, 1)
    episode = Episode.open(sealed.path)
    assert (episode.source == Source.HUMAN).all()
    assert (episode.action[:, 0] == -np.arange(11)).all()
    assert episode.state(COUNT.name)[:, 0].tolist() == list(range(11))
    assert episode.jpeg("top", 3)[:2] == b"\xff\xd8"


def test_a_policy_whose_chunk_holds_nonsense_is_refused():
    with pytest.raises(ReleaseInvalid, match="not finite"):
        rollout(Slider(), CountingPolicy(mark=float("nan")), TASK, 0, judge=Never())


class Says:
    """A judge of somebody's: it answers with a text."""

    rank = Judge.CLASSIFIER

    def __init__(self, said):
        self._said = said

    def verdict(self, observation):
        return self._said


def test_a_verdict_that_is_a_text_counts_as_what_it_says_and_any_other_is_refused():
    assert rollout(Slider(), CountingPolicy(), TASK, 0, judge=Says("success")).outcome is Outcome.SUCCESS
    with pytest.raises(UnknownName, match="verdict: is 'banana'; say None, or one of success, failure"):
        rollout(Slider(), CountingPolicy(), TASK, 0, judge=Says("banana"))
