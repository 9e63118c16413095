"""Arms do what their words say."""

from dataclasses import replace

import pytest

from fleetloop.lab.arms import OfflineRounds
from fleetloop.lab.bench import Bench
from fleetloop.lab.experiments import FLEET
from fleetloop.lab.fleet import VirtualFleet
from fleetloop.lab.storage import Cache
from fleetloop.policies.flow_on_robot import FlowOnRobot


@pytest.fixture
def bench(tmp_path):
    quick = FLEET.quick
    task = next(iter(quick.places))
    robots = (replace(quick.robots[0], tasks=(task,)),)
    setting = replace(
        quick, robots=robots, places={task: (robots[0].site,)}, demonstrations={task: 2}, episodes=1, minutes=0.2
    )
    return Bench(setting, 0, tmp_path / "scratch", Cache(tmp_path / "cache"), {})


def test_robots_of_later_offline_rounds_act_as_the_policy_was_trained_to(bench, monkeypatch):
    rounds, steps = [], []
    chunk, run = FlowOnRobot.chunk, VirtualFleet.run

    def asked(self, observation, instruction, condition, **others):
        rounds[-1].add(condition)
        return chunk(self, observation, instruction, condition, **others)

    def begun(fleet, until):
        rounds.append(set())
        run(fleet, until)
        steps.append(fleet.learner.steps)

    monkeypatch.setattr(FlowOnRobot, "chunk", asked)
    monkeypatch.setattr(VirtualFleet, "run", begun)
    OfflineRounds(rounds=2).run(bench)
    first, second = rounds
    assert first == {None}
    assert second == {"positive"}
    assert steps == [0, 0]  # nobody learns while they collect
