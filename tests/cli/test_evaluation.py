"""Measuring policies and experts, recording demonstrations, replaying: on the real simulator, few episodes."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fleetloop.cli import measured
from fleetloop.cli.base import make_base
from fleetloop.cli.config import load_config
from fleetloop.cli.main import app
from fleetloop.cli.replaying import open_loop_errors
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid, UnknownName
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import RobotKind
from fleetloop.lab import evaluation
from fleetloop.lab.candidate import Candidate, from_base, from_checkpoint
from fleetloop.lab.demonstrations import ExpertFails, record_demonstrations
from fleetloop.lab.evaluation import Tried, evaluate, report, scores, wilson
from fleetloop.learner.assemble import open_demonstrations
from fleetloop.learner.base import load_base, write_base
from fleetloop.learner.checkpoint import Checkpoint, save
from fleetloop.learner.export import config_hash, exact_weights
from fleetloop.policies.flow import FlowPolicy
from fleetloop.sim import scene
from fleetloop.sim.plugin import Sim, SimOptions
from fleetloop.sim.robot import sim_spec
from fleetloop.sim.tasks import sim_task
from fleetloop.weights.codec import from_safetensors, to_safetensors

SHELF = sim_task("restock/shelf").task
CALM = RobotKind("sim", SimOptions.under(scene.CALM))
DISTURBED = RobotKind("sim", SimOptions.under(scene.DISTURBED))


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Two demonstrations, and a base made of them."""
    directory = tmp_path_factory.mktemp("room")
    record_demonstrations(directory / "demonstrations", {SHELF: 2}, CALM, processes=1)
    config = load_config(
        None,
        ["policy.options.width=16", "policy.options.depth=1", "pretrain.steps=3", "pretrain.batch=8"],
        {"directories.base": str(directory / "base")},
    )
    make_base(config, open_demonstrations(directory / "demonstrations"))
    return directory


def test_a_base_is_two_files_and_leaves_nothing_else_behind(room):
    assert {path.name for path in (room / "base").iterdir()} == {"base.json", "weights.safetensors"}


# ---------------------------------------------------------------------- demonstrations


def test_demonstrations_are_sealed_successes_driven_by_the_expert(room):
    episodes = open_demonstrations(room / "demonstrations")
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.meta.purpose == "demonstration"
        assert episode.meta.outcome is Outcome.SUCCESS
        assert (episode.source == Source.HUMAN).all()
        assert episode.meta.instruction.startswith("put the ")
    assert episodes[0].meta.seed != episodes[1].meta.seed


def test_an_expert_that_never_succeeds_says_how_its_tries_ended(tmp_path):
    hurried = replace(SHELF, time_limit_s=0.1)
    with pytest.raises(ExpertFails, match=r"did not succeed in 10 tries at site-0 \(timeout 10 times\)"):
        record_demonstrations(tmp_path, {hurried: 1}, CALM, processes=1)
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_records_the_same_in_any_number_of_processes(room, tmp_path):
    record_demonstrations(tmp_path, {SHELF: 2}, CALM, processes=2)
    first, second = sorted((room / "demonstrations").iterdir()), sorted(tmp_path.iterdir())
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(Episode.open(one).action, Episode.open(other).action)


def test_another_disturbance_records_under_other_ids(room, tmp_path):
    record_demonstrations(tmp_path, {SHELF: 1}, DISTURBED, processes=1)
    assert not {path.name for path in tmp_path.iterdir()} & {path.name for path in (room / "demonstrations").iterdir()}


def test_a_learner_does_not_start_from_a_base_that_the_configuration_contradicts(room):
    result = CliRunner().invoke(app, ["learner", "--base", str(room / "base"), "--set", "policy.options.width=64"])
    assert result.exit_code == 1
    assert "policy.options.width: is 64, but" in result.stderr
    assert "was made with 16" in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("learner.sampler.task_weight", "0.5"), ("algorithm.options.tasks", "{horizon_s: 2}")],
)
def test_an_option_that_names_an_unknown_task_is_refused(room, option, value):
    command = ["learner", "--base", str(room / "base"), "--demonstrations", str(room / "demonstrations")]
    sets = ["--set", "algorithm.name=recap", "--set", f"{option}={{restock/shelv: {value}}}"]
    result = CliRunner().invoke(app, [*command, *sets])
    assert result.exit_code == 1
    assert f"{option}: names 'restock/shelv', which is neither worked at nor" in result.stderr


# ---------------------------------------------------------------------- evaluation


def test_the_expert_succeeds_and_candidates_meet_the_same_scenes(room):
    expert = evaluate(None, [SHELF], [0, 1], 4, seed=3, robot=CALM, processes=1)
    assert all(item.success for item in expert)
    assert [item.site for item in expert] == [0, 1, 0, 1]
    policy = evaluate(from_base(room / "base"), [SHELF], [0, 1], 4, seed=3, robot=CALM, processes=1)
    assert [(item.seed, item.instruction) for item in policy] == [(item.seed, item.instruction) for item in expert]
    assert not any(item.success for item in policy), "three steps of training do not make a policy"


@pytest.mark.parametrize("command", ["eval --expert --episodes 2", "demos record --episodes 2"])
def test_a_robot_that_does_not_say_that_it_is_simulated_is_not_touched(command, tmp_path, monkeypatch):
    """Else several processes would drive one arm at once, as fast as they go."""
    touched = []
    monkeypatch.setattr(Sim, "simulated", False)
    monkeypatch.setattr(Sim, "__init__", lambda *given, **named: touched.append(given))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*command.split(), "--tasks", "restock/shelf"])
    assert result.exit_code == 1
    assert "robot: 'sim' does not say `simulated = True`" in result.stderr
    assert not touched


def test_success_below_what_is_asked_for_is_an_exit_status(room, tmp_path):
    """Of a gate: the report is written all the same."""
    report = tmp_path / "report.json"
    words = ["eval", "--tasks", "restock/shelf", "--episodes", "4", "--sites", "0,1", "--calm", "-j", "1", "--report"]

    def gate(*more):
        return CliRunner().invoke(app, [*words, str(report), *map(str, more)])

    base = ("--base", room / "base")
    assert gate(*base, "--at-least", 0).exit_code == 0
    refused = gate(*base, "--at-least", 0.5)
    assert (refused.exit_code, "less than 0.5" in refused.stderr) == (1, True)
    assert json.loads(report.read_text())["tasks"]["restock/shelf"]["rate"] < 0.5
    assert gate("--expert", "--at-least", 0.75).exit_code == 0
    assert "--retention about two" in gate(*base, "--retention", "--at-least", 0.5).stderr
    unmeasured = gate("--base", tmp_path / "nowhere", "--at-least", 0.5)
    assert (unmeasured.exit_code, "nowhere: holds no base" in unmeasured.stderr) == (75, True)
    assert gate("--base", tmp_path / "nowhere").exit_code == 1
    broken = load_base(room / "base")
    torch.nn.init.constant_(broken.policy.trunk.out.bias, math.nan)
    write_base(RealDisk(), tmp_path / "broken", broken)
    unable = gate("--base", tmp_path / "broken", "--at-least", 0.5)
    assert (unable.exit_code, "policy: its chunk holds numbers that are not finite" in unable.stderr) == (1, True)


def test_the_result_does_not_depend_on_the_number_of_processes(room):
    candidate = from_base(room / "base")
    one, two = (evaluate(candidate, [SHELF], [0, 1], 4, robot=CALM, processes=count, options=None) for count in (1, 2))
    assert [(item.seed, item.success, item.ticks) for item in one] == [
        (item.seed, item.success, item.ticks) for item in two
    ]


def test_shuffled_instructions_are_other_instructions_in_the_same_scenes():
    own = evaluate(None, [SHELF], [1], 3, robot=CALM, processes=1)
    shuffled = evaluate(None, [SHELF], [1], 3, robot=CALM, processes=1, shuffle_instructions=True)
    for one, other in zip(own, shuffled, strict=True):
        assert one.seed == other.seed
        assert one.instruction != other.instruction
        assert other.success, "the expert reads the scene, not the words"


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(UnknownName, match="restock/shelf"):
        CALM.task("restock/shop")


def test_the_report_counts():
    results = evaluate(None, [SHELF], [0], 2, robot=CALM, processes=1)
    figures = report(scores(results))
    assert figures["average"] == figures["tasks"][SHELF.id]["rate"] == 1
    assert figures["tasks"][SHELF.id]["ticks_mean"] == np.mean([item.ticks for item in results])
    json.dumps(figures)


def test_what_never_succeeded_took_no_steps_that_could_be_told():
    """Nought would read as very fast."""
    found = scores([Tried(SHELF.id, 1, number, "go", False, 9, 0.1) for number in range(3)])[SHELF.id]
    assert (found.rate, found.ticks_mean, found.ticks_p95) == (0.0, None, None)


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilson_interval_holds_the_rate(successes, episodes):
    successes = min(successes, episodes)
    low, high = wilson(successes, episodes)
    assert 0 <= low <= successes / episodes <= high <= 1
    wider = wilson(successes, episodes)[1] - wilson(successes, episodes)[0]
    assert wilson(4 * successes, 4 * episodes)[1] - wilson(4 * successes, 4 * episodes)[0] < wider


def test_wilson_interval_is_the_published_one():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Agresti and Coull 1998's formula by hand
    assert wilson(0, 0) == (0, 1)


def test_retention_compares_with_the_base_on_tasks_that_nobody_worked_at(room, tmp_path):
    base = load_base(room / "base")
    arrays = {f"trainer.average.{name}": value for name, value in exact_weights(base.policy.state_dict()).items()}
    kept = Checkpoint("run", 7, 0, 0, config_hash(base.policy.config), arrays, (), {}, "hg_dagger")
    path, out = save(RealDisk(), tmp_path, kept, keep=1), tmp_path / "retention.json"
    command = ["eval", "--retention", "--base", str(room / "base"), "--checkpoint", str(path), "--episodes", "3"]
    command += ["--processes", "1", "--report", str(out)]
    result = CliRunner().invoke(app, [*command, "--set", "tasks=[box/walls]"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert list(report["tasks"]) == [SHELF.id]
    assert (report["together"]["episodes"], report["together"]["lost"], report["together"]["loss"]) == (3, 0, 0.0)
    assert "Tango" in report["method"]
    assert "checkpoint at step 7 against base" in result.stdout
    result = CliRunner().invoke(app, command)
    assert "--retention: the fleet works at every task that the base was made for" in result.stderr
    result = CliRunner().invoke(app, ["eval", "--retention", "--base", str(room / "base")])
    assert "--retention: compares the base with nothing" in result.stderr


def test_retention_measures_the_later_policy_as_robots_act_and_tells_what_was_lost(room, tmp_path, monkeypatch):
    base, tried = load_base(room / "base"), []
    arrays = {f"trainer.average.{name}": value for name, value in exact_weights(base.policy.state_dict()).items()}
    path = save(
        RealDisk(),
        tmp_path,
        Checkpoint("run", 7, 0, 0, config_hash(base.policy.config), arrays, (), {}, "recap"),
        keep=1,
    )

    def attempt(candidate, tasks, sites, episodes, **others):
        tried.append((candidate.label, candidate.condition, candidate.guidance))
        good = candidate.label.startswith("base")
        return [Tried(tasks[0].id, 1, number, "go", good, 9, 0.1) for number in range(episodes)]

    monkeypatch.setattr("fleetloop.lab.evaluation.evaluate", attempt)
    command = ["eval", "--retention", "--base", str(room / "base"), "--checkpoint", str(path), "--tasks", SHELF.id]
    command += ["--condition", "positive", "--guidance", "2", "--report", str(tmp_path / "out.json"), "--episodes", "3"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert [item[1:] for item in tried] == [("", 1.0), ("positive", 2.0)]
    assert json.loads((tmp_path / "out.json").read_text())["together"]["loss"] == 1.0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--expert --tasks ,", "--tasks: ',' names nothing"),
        ("--release 3 --checkpoint step-3", "--checkpoint: is another policy than --release"),
        ("--expert --base base", "--expert: is no policy"),
        ("--expert --retention", "--expert: is no policy"),
        ("--base {base} --guidance 3", "--guidance: base {base} acts on no condition"),
    ],
)
def test_what_would_mean_nothing_is_refused(room, options, told):
    base = room / "base"
    result = CliRunner().invoke(app, ["eval", *options.format(base=base).split()])
    assert result.exit_code == 1
    assert told.format(base=base) in " ".join(result.stderr.split())


# ---------------------------------------------------------------------- candidates


def test_a_checkpoints_average_is_what_is_measured(room, tmp_path):
    base = load_base(room / "base")
    arrays = {f"trainer.average.{name}": value + 1 for name, value in exact_weights(base.policy.state_dict()).items()}
    checkpoint = Checkpoint("run", 7, 0, 0, config_hash(base.policy.config), arrays, (), {}, "recap")
    path = save(RealDisk(), tmp_path, checkpoint, keep=1)
    candidate = from_checkpoint(path, room / "base")
    assert candidate.condition == "positive"  # what robots of that run act on
    weights = from_safetensors(candidate.weights)
    assert set(weights) == set(base.policy.state_dict())
    for name, value in base.policy.state_dict().items():
        np.testing.assert_allclose(weights[name], value + 1)


@pytest.mark.parametrize(("algorithm", "refused"), [("bc", True), ("recap", False)])
def test_a_condition_that_was_never_trained_is_refused(room, tmp_path, algorithm, refused):
    base = load_base(room / "base")
    arrays = {f"trainer.average.{name}": value for name, value in exact_weights(base.policy.state_dict()).items()}
    checkpoint = Checkpoint("run", 7, 0, 0, config_hash(base.policy.config), arrays, (), {}, algorithm)
    path = save(RealDisk(), tmp_path, checkpoint, keep=1)
    command = ["eval", "--base", str(room / "base"), "--checkpoint", str(path), "--condition", "positive", "-j", "1"]
    result = CliRunner().invoke(app, [*command, "--tasks", SHELF.id, "--episodes", "1"])
    assert (result.exit_code == 1) == refused, result.output
    said = "condition: checkpoint at step 7 was not trained under 'positive'; it knows: none"
    assert (said in " ".join(result.stderr.split())) == refused


def test_a_checkpoint_of_another_policy_is_refused(room, tmp_path):
    path = save(RealDisk(), tmp_path, Checkpoint("run", 7, 0, 0, "another", {"a": np.zeros(1)}, (), {}), keep=1)
    with pytest.raises(ConfigInvalid, match="--base"):
        from_checkpoint(path, room / "base")


# ---------------------------------------------------------------------- replay


class Parrot:
    """A policy that knows an episode by heart, and errs by a constant on one field."""

    def __init__(self, episode, spec, error):
        self.spec, self._episode, self._error = spec, episode, error

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        row = int(np.flatnonzero(self._episode.column("clock_s") == observation.taken)[0])
        rows = np.minimum(row + np.arange(self.spec.horizon), len(self._episode) - 1)
        actions = self._episode.action[rows].copy()
        actions[:, 2] += self._error
        return actions


def test_open_loop_errors_are_those_of_the_same_tick(room):
    episode = open_demonstrations(room / "demonstrations")[0]
    spec = load_base(room / "base").policy.spec
    found = open_loop_errors(Parrot(episode, spec, 0.25), episode)
    assert found.fields[2] == "left.z"
    assert found.frames == {"human": len(episode)}
    errors = found.by_driver["human"]
    assert errors[2] == pytest.approx(0.25, abs=1e-6)
    assert np.delete(errors, 2).max() == 0


def test_replay_of_a_sealed_file(room):
    path = min((room / "demonstrations").iterdir())
    result = CliRunner().invoke(app, ["replay", str(path), "--base", str(room / "base")])
    assert result.exit_code == 0, result.output
    assert "right.grip" in result.stdout


@pytest.fixture
def conditioned(monkeypatch):
    """What commands find under any name: a policy that acts on a condition and has a name of its own for the hands."""
    torch.manual_seed(0)
    robot = sim_spec()
    arms = tuple(replace(item, name="arms") if item.name == "hands" else item for item in robot.state)
    policy = FlowPolicy.build({"width": 16, "depth": 1}, replace(robot, state=arms))
    torch.nn.init.normal_(policy.trunk.modulation)
    spec = replace(policy.spec, rename={"arms": "hands"})
    weights = to_safetensors(exact_weights(policy.state_dict()))
    candidate = Candidate("release 3", "flow", policy.config, spec, weights, 3, "positive")
    monkeypatch.setattr(measured, "named_candidate", lambda *ignored, **others: candidate)


def test_replay_shows_what_robots_would_do(room, conditioned):
    """They act on the release's condition, or on the configuration's, and the policy finds what it calls otherwise."""
    command = ["replay", str(min((room / "demonstrations").iterdir())), "--release", "3"]
    said = {}
    for told in ("null", "positive", "negative", "''"):
        result = CliRunner().invoke(app, [*command, "--set", f"actor.condition={told}"])
        assert result.exit_code == 0, result.output + repr(result.exception)
        said[told] = result.stdout
    assert said["null"] == said["positive"]
    assert "acts on 'positive'" in said["positive"]
    assert len({text.partition("mean absolute")[0] for text in said.values()}) == 3


@pytest.mark.gl
def test_a_film_shows_what_robots_would_do(conditioned, tmp_path):
    films = {}
    for told in ("null", "positive", "''"):
        film = tmp_path / f"{told}.gif"
        command = ["sim", "view", SHELF.id, "--out", str(film), "--px", "64", "--release", "3"]
        result = CliRunner().invoke(app, [*command, "--set", f"actor.condition={told}"])
        assert result.exit_code == 0, result.output + repr(result.exception)
        films[told] = film.read_bytes()
    assert films["null"] == films["positive"] != films["''"]


def test_sim_experts_prints_the_bar_beside_the_figure():
    result = CliRunner().invoke(app, ["sim", "experts", "--tasks", SHELF.id, "--episodes", "2", "-j", "1"])
    assert result.exit_code == 0, result.output
    assert "0.97" in result.stdout


@pytest.mark.gl
def test_sim_view_films_the_expert_and_a_policy(room, tmp_path):
    for who in ([], ["--base", str(room / "base")]):
        film = tmp_path / f"{len(who)}.gif"
        command = ["sim", "view", SHELF.id, "--out", str(film), "--px", "64", *who]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert film.stat().st_size > 1000
        assert ("no success" in result.stdout) == bool(who)


def test_a_policy_is_measured_as_the_fleet_drives_it(room, monkeypatch):
    """But for what explores, or waits for people."""
    driven, real = [], evaluation.spread

    def seen(work, pieces, *others, **more):
        driven.extend(piece.options for piece in pieces)
        return real(work, pieces, *others, **more)

    monkeypatch.setattr(evaluation, "spread", seen)
    sets = ("actor.lead=2", "actor.exploration=0.5", "actor.swap=chunk", "actor.condition=positive")
    command = ["eval", "--base", str(room / "base"), "--tasks", SHELF.id, "--episodes", "1", "-j", "1"]
    result = CliRunner().invoke(app, [*command, *(part for one in sets for part in ("--set", one))])
    assert result.exit_code == 0, result.output + result.stderr
    (options,) = driven
    assert (options.lead, options.swap, options.condition) == (2, "chunk", "positive")
    assert (options.exploration, options.takeover_grace) == (0.0, 1.0)
