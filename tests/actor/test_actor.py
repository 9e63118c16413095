"""The actor: phases, limits, handovers, swaps and missed ticks, under virtual time."""

import numpy as np
import pytest
from slider import HZ, TASK, Never, Slider, SucceedsAt
from stage import Script, Stage

from fleetloop.actor.options import ActorOptions
from fleetloop.core.errors import ReleaseInvalid, SystemMissing
from fleetloop.core.frame import Source
from fleetloop.core.hub import Orders
from fleetloop.core.operator import Drive, HandBack, Mark
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.task import Task

LIMIT_TICKS = int(TASK.time_limit_s * HZ)
FOR_EVER = 1e9


def drive(tick):
    return Drive(np.array([-tick, 7], np.float32))


def test_it_waits_for_a_first_release_and_says_so(tmp_path):
    stage = Stage(tmp_path)
    for _ in range(20):
        stage.step()
    assert stage.status.phase == "waiting"
    assert stage.robot.seeds == []
    assert next(iter(stage.host.statuses())).phase == "waiting"
    stage.install(1)
    stage.until(lambda: stage.status.phase == "running")
    assert stage.status.release == 1


def test_an_episode_holds_every_tick_and_where_each_action_comes_from(tmp_path):
    stage = Stage(tmp_path, judge=SucceedsAt(30))
    stage.install(4, mark=2.5)
    (episode,) = stage.play(1)
    assert episode.meta.outcome is Outcome.SUCCESS
    assert episode.meta.ending.judge is Judge.SIMULATOR
    assert (episode.column("tick") == np.arange(31)).all()
    assert (episode.action == np.stack([np.arange(31), np.full(31, 2.5)], axis=1)).all()
    assert (episode.column("release") == 4).all()
    assert (episode.source == Source.POLICY).all()
    index, chunk = episode.column("chunk_index"), episode.column("chunk_id")
    assert index[0] == 0
    assert np.diff(chunk).min() == 0
    assert chunk[-1] > 3
    assert np.allclose(np.diff(episode.column("clock_s")), 1 / HZ)
    assert episode.meta.seed == stage.robot.seeds[0]
    assert episode.meta.instruction == f"slide far ({episode.meta.seed % 7})"
    assert (stage.status.episodes, stage.status.successes, stage.status.frames) == (1, 1, 31)


def test_time_runs_out(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1)
    (episode,) = stage.play(1)
    assert episode.meta.outcome is Outcome.TIMEOUT
    assert len(episode) == LIMIT_TICKS


def test_a_driving_human_gets_more_time(tmp_path):
    stage = Stage(tmp_path, operator=Script(drive))
    stage.attend(FOR_EVER)
    stage.clerk.exchange_mail()
    stage.install(1)
    (episode,) = stage.play(1)
    assert episode.meta.outcome is Outcome.TIMEOUT
    assert len(episode) == 1.6 * LIMIT_TICKS
    assert (episode.source == Source.HUMAN).all()
    assert episode.meta.operator == "pool"


def test_attention_from_before_the_machine_was_started_again_is_none(tmp_path):
    """Its clock counts from its start; the old orders lie on the disk."""
    stage = Stage(tmp_path, operator=Script(drive))
    stage.host.post_orders(Orders("robot-1", attention_until=FOR_EVER, attendant="pool/1", clock_s=FOR_EVER / 2))
    stage.clerk.exchange_mail()
    stage.install(1)
    (episode,) = stage.play(1)
    assert (episode.source == Source.POLICY).all()


def test_whoever_hands_back_late_has_no_time_left(tmp_path):
    stage = Stage(tmp_path, operator=Script(lambda tick: drive(tick) if tick < 50 else HandBack()))
    stage.attend(FOR_EVER)
    stage.clerk.exchange_mail()
    stage.install(1)
    (episode,) = stage.play(1)
    assert len(episode) == 51


def test_takeover_and_hand_back(tmp_path):
    operator = Script({10: drive(10), 11: drive(11), 12: None, 13: drive(13), 14: HandBack()}.get)
    stage = Stage(tmp_path, operator=operator)
    stage.attend(FOR_EVER)
    stage.clerk.exchange_mail()
    stage.install(1, mark=2.0)
    (episode,) = stage.play(1)
    names = [Source(value).name for value in episode.source[8:20]]
    assert names[:2] == ["POLICY"] * 2
    assert names[2:6] == ["HUMAN", "HUMAN", "HOLD", "HUMAN"]
    assert names[6:8] == ["HOLD", "POLICY"], "until the first chunk after the hand-back is there, the robot holds"
    assert set(names[8:]) == {"POLICY"}
    assert (episode.action[12] == episode.action[11]).all()
    assert (episode.action[14] == episode.action[13]).all()
    assert (episode.action[15] == [15, 2]).all(), "the chunk was made after the hand-back, and is entered at its tick"
    assert episode.interventions() == [(10, 12), (13, 14)]
    assert episode.column("chunk_id")[10:15].tolist() == [-1] * 5
    assert (stage.status.interventions, stage.status.frames_human) == (2, 3)
    assert operator.views[9].proposed.tolist() == [9, 2]
    assert operator.views[13].proposed.tolist() == [13, 2], "the policy goes on proposing while the human drives"
    assert [view.driving for view in operator.views[10:16]] == [False, True, True, True, True, False]


def test_without_attention_an_operator_is_not_obeyed(tmp_path):
    stage = Stage(tmp_path, operator=Script({5: drive(5)}.get))
    stage.install(1)
    (episode,) = stage.play(1)
    assert (episode.source == Source.POLICY).all()
    assert episode.meta.outcome is Outcome.TIMEOUT


def test_a_person_at_the_robot_may_end_its_episode_without_attention(tmp_path):
    """The hub that gives it may be away."""
    stage = Stage(tmp_path, operator=Script({5: drive(5), 8: Mark(Outcome.FAILURE)}.get))
    stage.install(1)
    (episode,) = stage.play(1)
    assert (episode.source == Source.POLICY).all()
    assert (episode.meta.outcome, episode.meta.ending.judge, len(episode)) == (Outcome.FAILURE, Judge.PERSON, 8)


def test_a_robot_that_its_last_action_would_move_on_says_how_it_stands_still(tmp_path):
    """Displacements and velocities: held, they would go on."""

    class Gliding(Slider):
        def still(self):
            return np.array([0, self.acted[-1][1]], np.float32)

    operator = Script({10: drive(10), 11: None, 12: None, 13: drive(13), 14: HandBack()}.get)
    stage = Stage(tmp_path, robot=Gliding(), operator=operator)
    stage.attend(FOR_EVER)
    stage.clerk.exchange_mail()
    stage.install(1)
    (episode,) = stage.play(1)
    assert np.flatnonzero(episode.source == Source.HOLD).tolist() == [11, 12, 14]
    assert episode.action[[11, 12, 14], 0].tolist() == [0, 0, 0]
    assert (episode.action[[11, 12, 14], 1] == episode.action[[10, 10, 13], 1]).all()
    assert episode.action[[10, 13], 0].all()


def test_lost_attention_holds_the_robot_and_then_the_policy_goes_on(tmp_path):
    stage = Stage(tmp_path, operator=Script(drive), options=ActorOptions(lost_hold_s=0.25))
    stage.install(1)
    stage.until(lambda: stage.status.phase == "running")
    stage.attend(stage.clock.now() + 0.99 * 10 / HZ)
    stage.clerk.exchange_mail()
    (episode,) = stage.play(1)
    names = [Source(value).name for value in episode.source]
    assert names[:10] == ["HUMAN"] * 10
    assert names[10:16] == ["HOLD"] * 6, "five ticks of holding, and one until the chunk is there"
    assert names[16:] == ["POLICY"] * (LIMIT_TICKS - 16)
    assert (episode.action[10:16] == episode.action[9]).all()


def test_a_mark_ends_the_episode_in_a_persons_name(tmp_path):
    stage = Stage(tmp_path, operator=Script({7: Mark(Outcome.SUCCESS)}.get))
    stage.attend(FOR_EVER)
    stage.clerk.exchange_mail()
    stage.install(1)
    (episode,) = stage.play(1)
    assert (episode.meta.outcome, episode.meta.ending.judge, len(episode)) == (Outcome.SUCCESS, Judge.PERSON, 7)


def test_missed_ticks_are_counted_and_leave_a_gap(tmp_path):
    """The third action takes 3.5 periods: the loop comes back in the middle of a period and goes on with that tick."""
    slow = Slider(cost_s=lambda count: 3.5 / HZ if count == 2 else 0.0)
    stage = Stage(tmp_path, robot=slow)
    stage.install(1)
    (episode,) = stage.play(1)
    assert episode.column("tick")[:6].tolist() == [0, 1, 2, 5, 6, 7]
    assert episode.meta.ending.ticks_missed == 2
    assert stage.status.ticks_missed == 2
    assert np.allclose(episode.column("clock_s")[4:] - episode.column("clock_s")[0], episode.column("tick")[4:] / HZ)
    assert (episode.column("chunk_index") < 8).all()


def test_a_loop_that_keeps_up_misses_nothing(tmp_path):
    stage = Stage(tmp_path, robot=Slider(cost_s=lambda count: 0.9 / HZ))
    stage.install(1)
    (episode,) = stage.play(1)
    assert episode.meta.ending.ticks_missed == 0
    assert (episode.column("tick") == np.arange(LIMIT_TICKS)).all()


def test_seeds_and_tasks_follow_from_the_actors_seed(tmp_path):
    tasks = tuple(Task(f"slide/{name}", "slide", time_limit_s=0.2) for name in "abc")

    def played(name, seed, order="round-robin"):
        stage = Stage(tmp_path / name, tasks=tasks, seed=seed, options=ActorOptions(task_order=order))
        stage.install(1)
        return [(e.meta.id, e.meta.task, e.meta.seed) for e in stage.play(9)]

    first = played("a", 1)
    assert first == played("b", 1)
    assert [task for _, task, _ in first] == [task.id for task in tasks] * 3
    assert len({seed for *_, seed in first}) == 9
    assert {seed for *_, seed in first}.isdisjoint({seed for *_, seed in played("c", 2)})
    shuffled = [task for _, task, _ in played("d", 1, "shuffled")]
    assert sorted(shuffled[:3]) == sorted(shuffled[3:6]) == [task.id for task in tasks]
    assert shuffled != [task.id for task in tasks] * 3


def test_a_reset_that_fails_is_tried_again(tmp_path):
    class Stuck(Slider):
        failures = 2

        def reset(self, task, seed):
            if self.failures:
                self.failures -= 1
                raise SystemMissing("gripper", "does not answer", "switch it on")
            return super().reset(task, seed)

    stage = Stage(tmp_path, robot=Stuck(), judge=Never())
    stage.install(1)
    stage.until(lambda: "gripper: does not answer" in stage.status.alarm)
    stage.until(lambda: stage.status.phase == "running")
    assert stage.status.alarm == ""


def test_stopping_ends_the_running_episode_as_aborted(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1)
    stage.until(lambda: stage.status.frames == 12)
    stage.actor.stop()
    stage.recorder.step(stage.clock.now())
    (episode,) = stage.episodes()
    assert (episode.meta.outcome, len(episode)) == (Outcome.ABORTED, 12)
    assert episode.meta.ending.judge is Judge.NOBODY
    assert stage.status.phase == "stopped"


def test_a_robot_that_hangs_keeps_no_operator(tmp_path):
    stage = Stage(tmp_path, operator=Script(lambda tick: None))
    stage.install(1)
    stage.until(lambda: stage.status.frames == 5)
    assert stage.status.wants_attention
    stage.clock.sleep_until(stage.actor.due + 4.0)
    assert not stage.status.wants_attention
    assert "no tick for 4 s" in stage.status.alarm
    stage.until(lambda: stage.status.wants_attention)
    assert "no tick" not in stage.status.alarm


def test_the_hubs_refusal_shows_as_an_alarm(tmp_path):
    stage = Stage(tmp_path)
    stage.host.post_orders(Orders("robot-1", alarm="count: the policy needs more"))
    stage.clerk.exchange_mail()
    assert "count: the policy needs more" in stage.status.alarm


def test_what_a_policy_raises_stops_the_actor(tmp_path):
    stage = Stage(tmp_path)
    stage.install(1, mark=float("inf"))
    with pytest.raises(ReleaseInvalid, match="not finite"):
        stage.play(1)
