"""`fleetloop pretrain`: a base from weights that were trained elsewhere."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.robot import RobotKind
from fleetloop.lab.demonstrations import record_demonstrations
from fleetloop.learner.base import load_base
from fleetloop.sim import scene
from fleetloop.sim.plugin import SimOptions
from fleetloop.sim.tasks import sim_task
from fleetloop.weights.codec import from_safetensors, to_safetensors

SMALL = ["--set", "policy.options.width=16", "--set", "policy.options.depth=1", "--set", "pretrain.batch=8"]


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demonstrations")
    record_demonstrations(
        directory, {sim_task("restock/shelf").task: 2}, RobotKind("sim", SimOptions.under(scene.CALM)), processes=1
    )
    return directory


@pytest.fixture
def pretrain(demonstrations, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(app, ["pretrain", "--demonstrations", str(demonstrations), *SMALL, *arguments])

    return run


@pytest.fixture
def pretrained(pretrain, tmp_path):
    """Weights from elsewhere: they know of no statistics of ours."""
    assert pretrain("--steps", "3", "--out", "elsewhere").exit_code == 0
    weights = from_safetensors((tmp_path / "elsewhere" / "weights.safetensors").read_bytes())
    return {name: array for name, array in weights.items() if "stats" not in name.split(".")}


def test_weights_from_elsewhere_are_a_base_without_a_step(pretrain, pretrained, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(to_safetensors(pretrained))
    result = pretrain("--weights", "model.safetensors", "--steps", "0")
    assert result.exit_code == 0, result.output
    made, other = (load_base(tmp_path / name) for name in ("base", "elsewhere"))
    for name, value in made.policy.state_dict().items():
        np.testing.assert_array_equal(value, other.policy.state_dict()[name])
    assert (made.facts["steps"], made.facts["weights"]) == (0, "model.safetensors")


def test_weights_begin_what_is_then_trained(pretrain, pretrained, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(to_safetensors(pretrained))
    slowly = ["--set", "pretrain.optimizer.rate=1e-9"]
    result = pretrain("--weights", "model.safetensors", "--steps", "2", *slowly)
    assert result.exit_code == 0, result.output
    made = load_base(tmp_path / "base").policy.state_dict()
    for name, value in pretrained.items():
        np.testing.assert_allclose(made[name], value, atol=1e-6)


def test_weights_of_another_policy_are_refused_by_name(pretrain, pretrained, tmp_path):
    named = sorted(pretrained)
    strange = {name: array for name, array in pretrained.items() if name != named[0]}
    strange |= {f"model.{number}": np.zeros(2, np.float32) for number in range(7)}
    strange[named[1]] = np.zeros((3, 3, 3), np.float32)
    (tmp_path / "model.safetensors").write_bytes(to_safetensors(strange))
    result = pretrain("--weights", "model.safetensors", "--steps", "0")
    told = " ".join(result.stderr.split())
    assert result.exit_code == 1
    assert f"lacks {named[0]};" in told
    assert "model.4 and 2 more" in told
    assert f"in another shape {named[1]};" in told
    (tmp_path / "model.safetensors").write_bytes(json.dumps({}).encode())
    assert "model.safetensors: can't be read" in pretrain("--weights", "model.safetensors", "--steps", "0").stderr
    assert not (tmp_path / "base").exists()
