"""The leader arm of the page on operators drives the arm of the page on robots, and ends its episode."""

import os
import pty
import select

import numpy as np
import pytest
from snippets import blocks, run

from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.actor.rollout import rollout
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode, EpisodeMeta
from fleetloop.core.frame import Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import seal
from fleetloop.core.spec import PolicySpec
from fleetloop.core.task import Site, Task
from fleetloop.judges.absent import AbsentJudge
from fleetloop.operators.person import Person
from fleetloop.operators.terminal import Terminal

TASK = Task("arm/reach", "move the arm to the goal", time_limit_s=10.0)
FAR_AWAY = np.array([2.0, -2.0], np.float32)
MOVED = np.array([0.05, -0.05], np.float32)


class Creeps:
    """A policy that moves the arm a little."""

    def __init__(self, joints) -> None:
        self.spec = PolicySpec((joints,), joints, horizon=4, execute=2, control_hz=20)

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        return observation.state["joints"] + np.arange(4, dtype=np.float32)[:, None] * 0.01


class Room:
    """The person and the leader: a bus without a bus, keys that are really typed, each at its tick."""

    rank = Judge.NOBODY

    def __init__(self, happens) -> None:
        self.happens, self.tick, self.leader, self.closed = happens, 0, FAR_AWAY.copy(), False
        self.far, self.near = pty.openpty()
        self.person = Person(Terminal(os.ttyname(self.near)))

    def joints(self):
        return None if self.leader is None else self.leader.copy()

    def verdict(self, observation):
        """Asked after every tick, as a judge is: time passes."""
        self.tick += 1
        doing = self.happens.get(self.tick)
        if isinstance(doing, str):
            os.write(self.far, doing.encode())
            assert select.select([self.near], [], [], 30.0)[0]
        elif self.tick in self.happens:
            self.leader = None if doing is None else FAR_AWAY + doing
        return AbsentJudge().verdict(observation)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def driven(tmp_path):
    """An episode in which this happens, and the room afterwards."""
    arm = run(blocks("docs/how-to/your-robot.md", "python")[0], "arm")
    leader = run(blocks("docs/how-to/your-operator.md", "python")[0], "leader")
    room = Room({5: "t", 8: MOVED, 10: None, 12: 3 * MOVED, 14: "b", 20: "y"})
    robot, disk = arm["Arm"](None, clock=Virtual(), site=Site("lab")), RealDisk()
    id = new_id(0.0, np.random.default_rng(0))
    operator = leader["LeaderOperator"](leader["LeaderOptions"](), robot, room, room.person)
    meta = EpisodeMeta(id, "run", "arm-1", "lab", TASK.id, TASK.instruction, "online", robot.spec)
    rollout(
        robot,
        Creeps(arm["JOINTS"]),
        TASK,
        seed=1,
        judge=room,
        operator=operator,
        record=lambda start: EpisodeWriter(disk, tmp_path, meta, jpeg_quality=90),
    )
    operator.close()
    assert room.closed
    os.close(room.far)
    os.close(room.near)
    return Episode.open(seal(disk, tmp_path / f"{id}.partial").path)


def test_a_takeover_with_a_leader_arm_does_not_jump_follows_and_hands_back(driven):
    source, wanted, joints = driven.source, driven.column("action_requested"), driven.state("joints")
    names = [Source(value).name for value in source]
    assert names[:5] == ["POLICY"] * 5
    assert names[5:10] == ["HUMAN"] * 5
    assert names[10:12] == ["HOLD"] * 2, "a leader that is lost leaves the arm where it is"
    assert names[12:14] == ["HUMAN"] * 2, "it is back, somewhere else"
    assert set(names[16:]) == {"POLICY"}, "after a hand-back the arm holds until there is a fresh chunk"
    np.testing.assert_allclose(wanted[5:8], np.tile(joints[5], (3, 1)), atol=1e-6, err_msg="it starts where the arm is")
    np.testing.assert_allclose(wanted[8:14], np.tile(joints[5] + MOVED, (6, 1)), atol=1e-6)


def test_the_person_ends_the_episode_and_is_its_judge(driven):
    assert (driven.meta.outcome, driven.meta.ending.judge, len(driven)) == (Outcome.SUCCESS, Judge.PERSON, 20)
