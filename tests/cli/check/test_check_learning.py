"""What `fleetloop check` says of algorithms and policies that break a rule."""

import pytest
import torch
from asked import problems, told_by
from broken import (
    WATCHED,
    Asking,
    Cloning,
    Imported,
    Linear,
    Point,
    Sighted,
    Versioned,
)
from typer.testing import CliRunner

from fleetloop.cli.check import algorithm, policy
from fleetloop.cli.check.experience import TOY, batch_for, episodes
from fleetloop.cli.main import app
from fleetloop.policies.flow import FlowPolicy


@pytest.fixture(scope="module")
def told_on_toy(tmp_path_factory):
    torch.manual_seed(0)
    told = episodes(tmp_path_factory.mktemp("toy"), TOY)
    learner = FlowPolicy.build({"width": 16, "depth": 1}, TOY)
    learner.fit_statistics(batch_for(learner, told))
    return learner, told


def wrong_with(kind, fault, learner, recorded):
    subject = algorithm.AlgorithmSubject(kind(fault), lambda: kind(fault), learner, recorded)
    return problems(algorithm.CHECKS, subject)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("strange", "'fast' is unknown to the policy; it knows: negative, positive"),
        ("long", r"train is bool\[41\] for 40 frames; make it bool\[40\]"),
        ("far", "past a missed tick; use algorithms.segments.segment_stops"),
        ("mixes", "No target mixes.*has frames of 2 drivers"),
        ("idle", "no frame of 9 episodes trains"),
        ("weightless", "no frame of 9 episodes trains; look at `train` and `weight`"),
        ("hungry", "IndexError"),
        ("steep", "its gradient is not finite"),
        ("overwrites", r"it changed the batch: \['mask'\]"),
        ("negative", "weights are not"),
        ("moody", "weight differs the second time"),
        ("scalar", r"it has the shape \[\]; return \[8\]"),
        ("nan", "it is not finite"),
        ("detached", "it carries no gradient"),
        ("random", "two losses differ"),
        ("object", "Algorithm.state_dict: odd: is no JSON value"),
        ("numbered", r"Algorithm.state_dict: odd\[1\]: is no JSON value"),
        ("nested", "Algorithm.state_dict: odd.array: is no JSON value"),
        ("words", "Algorithm.state_dict: odd: is <U1"),
        ("nothing", "Algorithm.state_dict: returned a NoneType"),
        ("forgets", "differ after the restart"),
        ("picky", "it is not finite"),
    ],
)
def test_an_algorithm_that_breaks_a_rule(told_on_toy, fault, told):
    told_by(told, wrong_with(Cloning, fault, *told_on_toy))


def test_an_algorithm_that_breaks_none(told_on_toy):
    assert not wrong_with(Cloning, "", *told_on_toy)
    assert not wrong_with(Versioned, "", *told_on_toy)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("stays", "the version stayed 0; count it up in `switch`"),
        ("splits", "`label` says something else of .* than the refresh did"),
        ("forgetful", "What a refresh has learned survives.*the version is 0 after the restart, not 1"),
        ("lossy", "What a refresh has learned survives.*labels of .* differ after the restart"),
    ],
)
def test_an_algorithm_whose_labels_have_versions(told_on_toy, fault, told):
    told_by(told, wrong_with(Versioned, fault, *told_on_toy))


def about(fault, directory, kind=Linear, spec=Point.spec):
    torch.manual_seed(0)
    config = {"fault": fault}
    return policy.PolicySubject(kind, kind.build(config, spec), config, spec, episodes(directory, spec))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("tampers", r"it changed \['map.weight'\]; keep statistics in buffers"),
        ("short", r"gives float32\[3, 2\]; return float32\[4, 2\]"),
        ("noisy", "two chunks differ; draw from `rng` alone"),
        ("scalar", r"it has the shape \[\]; return \[8\] for 8 samples"),
        ("coarse", r"2 parameters train in 16 bits, e.g. \['map.weight'\]; keep them in float32"),
        ("shares", "the first sample's target changes other losses"),
        ("unmasked", "no targets: the loss changes with them"),
        ("forgets", "their chunks are .* apart; load every tensor"),
        ("complex", "survive a release.*tensor table: has the type complex64; known: bfloat16"),
        ("lax", "it acts without .*; load strictly"),
        ("scribbles", r"it wrote to what was observed: \['place'\]"),
        ("abrupt", "under way.*AssertionError"),
        ("halves", "with its own weights loaded it acts .* otherwise"),
    ],
)
def test_a_policy_that_breaks_a_rule(tmp_path, fault, told):
    wrong = problems(policy.CHECKS, about(fault, tmp_path))
    told_by(told, wrong)


@pytest.mark.parametrize(("kind", "more"), [(Linear, ""), (Linear, "counts"), (Asking, "")])
def test_a_policy_that_breaks_none(tmp_path, kind, more):
    assert not problems(policy.CHECKS, about(more, tmp_path, kind))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("listed", r"`conditions` is \['negative', 'positive'\]; make it a frozenset of words"),
        ("deaf", "every condition that it names: KeyError: 'negative'"),
        ("unsure", "the loss of samples with an indicator is not finite"),
        ("narrow", r"its logits are torch.float32 \[3, 1\]; return float32 \[3, 11\]"),
        ("unjudging", "Its critic.*: NotImplementedError"),
        ("locked", "A copy acts as it does.*: TypeError: cannot pickle"),
    ],
)
def test_a_policy_that_has_conditions_and_a_critic(tmp_path, fault, told):
    told_by(told, problems(policy.CHECKS, about(fault, tmp_path, Asking)))


def test_a_policy_whose_statistics_would_be_rounded(tmp_path):
    assert not problems(policy.CHECKS, about("", tmp_path / "buffer", Imported))
    wrong = problems(policy.CHECKS, about("rounded", tmp_path / "parameter", Imported))
    told_by(r"rounding \['unnormalize.mean'\] moves its actions by 0.2%", wrong)


def test_a_policy_is_checked_on_what_the_robots_camera_shows(tmp_path):
    assert not problems(policy.CHECKS, about("", tmp_path / "sound", Sighted, WATCHED))
    told_by(
        "numbers that are not finite", problems(policy.CHECKS, about("dazzled", tmp_path / "not", Sighted, WATCHED))
    )


def test_debugging_shows_where_other_peoples_code_failed(told_on_toy, monkeypatch, capsys):
    monkeypatch.setenv("FLEETLOOP_DEBUG", "1")
    wrong_with(Cloning, "hungry", *told_on_toy)
    assert "broken.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("class Other(HGDagger): pass", "its class has the name 'hg_dagger'; set `name` to 'other'"),
        ("class Other(HGDagger):\n    name, Options = 'other', dict", "its Options are no pydantic model"),
        ("raise SystemExit(7)", "can't be imported"),
    ],
)
def test_an_algorithm_that_would_fail_later_is_refused_when_it_is_made(installed, source, told):
    installed(
        "other",
        "[fleetloop.algorithms]\nother = other:Other\n",
        f"from fleetloop.algorithms.hg_dagger import HGDagger\n\n{source}\n",
    )
    said = CliRunner().invoke(app, ["check", "algorithm", "other"])
    assert said.exit_code == 1
    assert told in said.stdout + said.stderr


def test_a_cause_of_many_faults_is_told_once(installed):
    installed(
        "other",
        "[fleetloop.algorithms]\nother = other:Other\n",
        "from fleetloop.algorithms.hg_dagger import HGDagger\n\n"
        "class Other(HGDagger):\n    name = 'other'\n\n"
        "    def label(self, episode):\n        raise KeyError('gripper')\n",
    )
    said = CliRunner().invoke(app, ["check", "algorithm", "other"])
    assert said.exit_code == 1
    assert said.stdout.count("KeyError: 'gripper'") == 1
    assert said.stdout.count(": as above\n") > 3
