"""The programs that the documentation shows do what it says of them."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from snippets import blocks, run

from fleetloop.actor.rollout import rollout
from fleetloop.cli.check import judge as judge_check
from fleetloop.cli.check import robot as robot_check
from fleetloop.cli.check.findings import findings
from fleetloop.cli.check.judge import JudgeSubject
from fleetloop.cli.check.robot import RobotSubject
from fleetloop.cli.config import FleetConfig
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.outcome import Outcome
from fleetloop.core.recording import open_sealed
from fleetloop.core.task import Site, Task
from fleetloop.core.validation import validate
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService
from fleetloop.learner.arrival import prepare
from fleetloop.learner.export import release_weights
from fleetloop.learner.options import OptimizerOptions, PretrainOptions
from fleetloop.learner.pretrain import pretrain
from fleetloop.policies.flow import FlowPolicy
from fleetloop.weights.codec import from_safetensors, to_safetensors

ROBOT_PAGE, POLICY_PAGE, ALGORITHM_PAGE = (f"docs/how-to/your-{page}.md" for page in ("robot", "policy", "algorithm"))
QUICK = PretrainOptions(
    steps=300, batch=64, held_out=0, optimizer=OptimizerOptions(rate=5e-3, warmup_steps=10, ema=0.95)
)


REACH = Task("arm/reach", "move the arm to the goal", time_limit_s=5.0)


def new(arm):
    return arm.Arm(None, clock=Virtual(), site=Site("lab"))


@pytest.fixture(scope="module")
def arm():
    """The module `arm.py` of the page on robots."""
    module = types.ModuleType("arm")
    module.__dict__.update(run(blocks(ROBOT_PAGE, "python")[0], "arm"))
    sys.modules["arm"] = module
    yield module
    del sys.modules["arm"]


@pytest.fixture(scope="module")
def demonstrations(arm, tmp_path_factory):
    demonstrate = run(blocks(ROBOT_PAGE, "python")[1], "demonstrate")["demonstrate"]
    directory = tmp_path_factory.mktemp("demonstrations")
    for seed in range(40):
        assert demonstrate(new(arm), directory, seed, Virtual()) is Outcome.SUCCESS
    return [Episode.open(path) for path in sorted(directory.glob("*.arrow"))]


@pytest.fixture(scope="module")
def algorithm():
    space = run(blocks(ALGORITHM_PAGE, "python")[0], "own_success")
    return space["OwnSuccess"](space["OwnSuccessOptions"]())


def test_an_episode_written_without_fleetloop_is_taken_by_the_hub(tmp_path: Path) -> None:
    [source] = blocks("docs/reference/episode.md", "python")
    assert "fleetloop." not in source.replace("fleetloop.meta", "")
    rows = np.linspace(0, 1, 30 * 6, dtype=np.float32).reshape(30, 6)
    path = run(source, "write")["write_episode"](tmp_path, "arm", rows.tolist(), (rows + 1).tolist())
    episode = Episode.open(path)
    validate(episode)
    assert np.array_equal(episode.state("joints"), rows)
    assert np.array_equal(episode.action, rows + 1)
    assert episode.interventions() == [(0, 30)]
    hub = HubService.open(HubOptions(directory=tmp_path / "hub"), Virtual(), RealDisk())
    sealed = open_sealed(path)
    assert not hub.put_episode(sealed.meta.id, path, sealed.hash).known
    hub.close()


def test_the_robot_demonstrates_and_the_built_in_policy_learns_to_drive_it(arm, demonstrations, algorithm) -> None:
    assert {episode.meta.outcome for episode in demonstrations} == {Outcome.SUCCESS}
    torch.manual_seed(0)
    policy = FlowPolicy.build({"width": 64, "depth": 2}, arm.Arm.spec)
    clone = pretrain(policy, algorithm, demonstrations, QUICK).policy.eval()
    errors, distances = [], []
    for seed in range(95, 103):
        robot = new(arm)
        rollout(robot, clone, REACH, seed, judge=arm.Reached(None, robot))
        seen = robot.observe().state
        errors.append(np.abs(seen["joints"] - seen["goal"]).max())
        distances.append(np.abs(seen["goal"]).max())
    assert np.mean(errors) < np.mean(distances) / 2


def test_the_robot_and_its_judge_keep_their_contracts(arm, demonstrations) -> None:
    clock = Virtual()
    robot = arm.Arm(None, clock=clock, site=Site("lab"))
    body = RobotSubject(robot, REACH, clock)
    subjects = [(robot_check, body), (judge_check, JudgeSubject(arm.Reached(None, robot), body))]
    assert not [found for check, subject in subjects for found in findings(check.CHECKS, subject) if found.problem]


def test_the_configuration_of_the_page_is_one(arm, tmp_path) -> None:
    (tmp_path / "fleet.yaml").write_text(blocks(ROBOT_PAGE, "yaml")[0])
    values = yaml.safe_load((tmp_path / "fleet.yaml").read_text())
    assert FleetConfig.model_validate(values).own_tasks["arm/reach"].time_limit_s == 5


def test_the_policy_learns_and_acts_on_from_a_release(arm, demonstrations, algorithm) -> None:
    linear = run(blocks(POLICY_PAGE, "python")[0], "linear")["LinearPolicy"]
    torch.manual_seed(0)
    trained = pretrain(linear.build({"horizon": 4}, arm.Arm.spec), algorithm, demonstrations, QUICK).policy
    weights = from_safetensors(to_safetensors(release_weights(trained.state_dict())))
    assert weights["stats.mean"].dtype == np.float32
    acting = linear.acting(trained.config, trained.spec, weights)
    robot = new(arm)
    robot.reset(REACH, 5)
    seen = robot.observe()
    chunk = acting.chunk(seen, "move the arm to the goal", None, rng=np.random.default_rng(0))
    assert chunk.shape == (4, 2)
    towards = np.sign(seen.state["goal"])
    assert (np.sign(chunk[-1]) == towards).all()


def test_the_algorithm_trains_on_people_and_on_successes(arm, demonstrations, algorithm) -> None:
    policy = FlowPolicy.build({}, arm.Arm.spec)
    prepared = prepare(demonstrations[0], algorithm, policy.spec)
    assert prepared.labels.train.all()
    assert prepared.labels.stop[0] == len(demonstrations[0])
