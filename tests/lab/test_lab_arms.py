"""Arms do what their words say."""

from dataclasses import replace

import pytest

from fleetloop.lab.arms import OfflineRounds, Online
from fleetloop.lab.bench import FEW, Bench
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


def test_demonstrations_at_sites_are_as_many_frames_from_where_the_fleet_works(bench):
    (task,) = bench.setting.places
    setting = replace(bench.setting, places={task: (1, 2)})
    bench = replace(bench, setting=setting)
    frames = bench.demonstrations_at_sites({task: 1000})
    longest = max(map(len, frames))
    assert 1000 <= sum(map(len, frames)) < 1000 + FEW * longest
    assert {episode.meta.site for episode in frames} == {"site-1", "site-2"}
    assert len({episode.meta.id for episode in frames}) == len(frames)
    assert {episode.meta.id for episode in frames}.isdisjoint(episode.meta.id for episode in bench.demonstrations())


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


def test_a_fleet_that_works_longer_learns_for_longer(bench):
    once, twice = (Online(f"{times}", times=times).run(bench)["fleet"] for times in (1.0, 2.0))
    assert twice["steps"] == pytest.approx(2 * once["steps"], abs=1)
    assert twice["episodes"] > once["episodes"]
