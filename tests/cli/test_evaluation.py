"""Measuring policies and experts: on the real simulator, few episodes."""

import json
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import psutil
import pytest
import torch
from fleet_world import until
from hypothesis import given
from hypothesis import strategies as st
from shelf import CALM, SHELF
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import ConfigInvalid, UnknownName
from fleetloop.lab import evaluation
from fleetloop.lab.candidate import from_base, from_checkpoint
from fleetloop.lab.evaluation import Tried, evaluate, never_worded_otherwise, report, scores, wilson
from fleetloop.learner.base import load_base, write_base
from fleetloop.learner.checkpoint import Checkpoint, save
from fleetloop.learner.export import config_hash, exact_weights
from fleetloop.sim.plugin import Sim
from fleetloop.weights.codec import from_safetensors


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
    words = ["eval", "--tasks", "restock/shelf,restock/shelf", "--episodes", "4", "--sites", "0,1", "--calm", "-j", "1"]
    words.append("--report")

    def gate(*more):
        return CliRunner().invoke(app, [*words, str(report), *map(str, more)])

    base = ("--base", room / "base")
    assert gate(*base, "--at-least", 0).exit_code == 0
    refused = gate(*base, "--at-least", 0.5)
    assert (refused.exit_code, "less than 0.5" in refused.stderr) == (1, True)
    told = json.loads(report.read_text())["tasks"]["restock/shelf"]
    assert told["rate"] < 0.5
    assert told["episodes"] == 4, "a task that is named twice is one"
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
    assert never_worded_otherwise(shuffled) == []


def test_a_task_that_is_always_told_in_the_same_words_says_so_when_they_are_shuffled():
    """Else the figure would read as if the policy did not heed them."""
    for task, told in (("laundry/fold", True), (SHELF.id, False)):
        command = ["eval", "--expert", "--shuffle-instructions", "--tasks", task, "--episodes", "1", "-j", "1"]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output + result.stderr
        assert (f"{task} is told in the same words" in " ".join(result.stderr.split())) == told


@pytest.mark.parametrize("so_many", [1, 3], ids=["amid imports", "amid episodes"])
def test_an_interrupt_ends_it_without_a_word_and_leaves_no_process(tmp_path, so_many):
    """As a terminal's Ctrl-C, which all of its processes get."""
    with (tmp_path / "out").open("w") as out:
        command = [sys.executable, "-m", "fleetloop", "eval", "--expert", "--tasks", SHELF.id, "--episodes", "2000"]
        hearing = ["env", "--default-signal=INT"]  # even where the tests themselves don't
        running = subprocess.Popen([*hearing, *command, "-j", "2"], stdout=out, stderr=out, start_new_session=True)
        until(lambda: len(_forked_in(running.pid)) >= so_many, "processes begin")
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(60) == 130
    assert "Traceback" not in (tmp_path / "out").read_text()
    until(lambda: not _forked_in(running.pid), "its processes end")


def _forked_in(session: int) -> list[psutil.Process]:
    """Its processes but for the first, and but for the one that looks after shared memory."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and "forkserver" in " ".join(process.cmdline()):
                found.append(process)
    return found


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
