"""Replaying and filming what was recorded or would be done: on the real simulator, few episodes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from shelf import SHELF
from typer.testing import CliRunner

from fleetloop.cli import measured
from fleetloop.cli.main import app
from fleetloop.cli.replaying import open_loop_errors
from fleetloop.core.errors import ReleaseInvalid
from fleetloop.lab.candidate import Candidate
from fleetloop.learner.assemble import open_demonstrations
from fleetloop.learner.base import load_base
from fleetloop.learner.export import exact_weights
from fleetloop.policies.flow import FlowPolicy
from fleetloop.sim.robot import sim_spec
from fleetloop.weights.codec import to_safetensors


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


def test_a_policy_that_says_what_is_no_number_is_named(room):
    episode = open_demonstrations(room / "demonstrations")[0]
    with pytest.raises(ReleaseInvalid, match="frame 0: its chunk holds numbers that are not finite"):
        open_loop_errors(Parrot(episode, load_base(room / "base").policy.spec, np.nan), episode)


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
