"""`fleetloop pretrain`: from weights that were trained elsewhere, from demonstrations of another robot."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fleetloop.cli.check.experience import episodes
from fleetloop.cli.main import app
from fleetloop.core.robot import RobotKind
from fleetloop.core.spec import FeatureSpec, RobotSpec
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
    said = json.loads((tmp_path / "base" / "base.json").read_text())["versions"]
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{said['fleetloop']}, code {said['code']}\n"


def test_weights_that_bring_their_statistics_need_no_demonstrations(pretrain, pretrained, tmp_path):
    """As somebody has who comes with a pretrained policy and robots."""
    none = ["--demonstrations", "none", "--steps", "0", "--weights"]
    (tmp_path / "lacking.safetensors").write_bytes(to_safetensors(pretrained))
    refused = pretrain(*none, "lacking.safetensors")
    assert refused.exit_code == 1
    assert "lacking.safetensors: lacks encoder.stats." in " ".join(refused.stderr.split())
    assert not (tmp_path / "base").exists()
    whole = tmp_path / "elsewhere" / "weights.safetensors"
    result = pretrain(*none, str(whole))
    assert result.exit_code == 0, result.output
    made = load_base(tmp_path / "base")
    assert (made.robot, made.facts["steps"]) == (load_base(tmp_path / "elsewhere").robot, 0)
    for name, array in from_safetensors(whole.read_bytes()).items():
        np.testing.assert_array_equal(made.policy.state_dict()[name], array)
    training = pretrain("--demonstrations", "none", "--weights", str(whole), "--replace")
    assert "none: is no directory; record some" in " ".join(training.stderr.split())


def test_a_real_robot_that_can_not_say_what_it_offers_is_not_made_to_find_out(pretrain, installed, tmp_path):
    installed(
        "arm", "[fleetloop.robots]\narm = arm:Arm\n", "class Arm:\n    def __init__(self, options, **_): exit(3)\n"
    )
    (tmp_path / "model.safetensors").write_bytes(to_safetensors({}))
    none = ["--demonstrations", "none", "--steps", "0", "--weights", "model.safetensors", "--set", "robot.name=arm"]
    result = pretrain(*none)
    assert (result.exit_code, "give its class a `spec`" in " ".join(result.stderr.split())) == (1, True)


def test_a_base_among_other_things_leaves_them_as_they_are(pretrain, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "thesis.tex").write_text("all of it")
    result = pretrain("--steps", "1", "--out", ".")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "scratch" / "thesis.tex").read_text() == "all of it"
    assert {path.name for path in tmp_path.iterdir()} == {"scratch", "base.json", "weights.safetensors"}


def test_a_base_is_written_over_only_if_that_is_said(pretrain, tmp_path):
    assert pretrain("--steps", "1").exit_code == 0
    before = (tmp_path / "base" / "base.json").read_text()
    refused = pretrain("--steps", "2")
    assert (refused.exit_code, "base holds a base already; name another, or say --replace" in refused.stderr) == (
        1,
        True,
    )
    assert (tmp_path / "base" / "base.json").read_text() == before
    assert pretrain("--steps", "2", "--replace").exit_code == 0
    assert json.loads((tmp_path / "base" / "base.json").read_text())["facts"]["steps"] == 2


def test_a_base_is_not_written_among_the_demonstrations(pretrain, demonstrations):
    before = sorted(demonstrations.iterdir())
    result = pretrain("--steps", "1", "--out", str(demonstrations))
    assert result.exit_code == 1
    assert "is where the demonstrations are" in " ".join(result.stderr.split())
    assert sorted(demonstrations.iterdir()) == before


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


ARM = """
from fleetloop.core.spec import FeatureSpec, RobotSpec

class Arm:
    spec = RobotSpec("arm", (FeatureSpec("joints", (3,), unit="rad", low=-3.2, high=3.2),),
                     FeatureSpec("action", (3,), low=-1, high=1), {hz})

    def __init__(self, options, *, clock, site):
        raise OSError("no arm is connected")
"""


@pytest.fixture
def arm(tmp_path, monkeypatch):
    """Installs a robot with this control rate; returns what chooses it. Its demonstrations are at 10 Hz, in degrees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    joints, action = FeatureSpec("joints", (3,), low=-100, high=100), FeatureSpec("action", (3,), low=-1, high=1)
    episodes(tmp_path / "demonstrations", RobotSpec("arm", (joints,), action, 10))

    def install(hz):
        name = f"arm_at_{hz}"
        metadata = tmp_path / f"{name}-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(f"[fleetloop.robots]\n{name} = {name}:Arm\n")
        (tmp_path / f"{name}.py").write_text(ARM.format(hz=hz))
        return [*SMALL, "--set", "pretrain.steps=1", "--set", f"robot.name={name}"]

    return install


def test_demonstrations_of_another_robot_are_refused_before_anything_is_trained(arm, tmp_path):
    fits, at_30_hz = arm(10), arm(30)
    result = CliRunner().invoke(app, ["pretrain", *at_30_hz])
    assert "control_hz: the policy needs 10 Hz; the robot offers 30 Hz" in " ".join(result.stderr.split())
    assert not (tmp_path / "base").exists()
    assert CliRunner().invoke(app, ["pretrain", *fits]).exit_code == 0
    result = CliRunner().invoke(app, ["learner", *at_30_hz])
    assert "control_hz: the policy needs 10 Hz; the robot offers 30 Hz" in " ".join(result.stderr.split())
    assert not (tmp_path / "learner").exists()


def test_values_that_the_robot_can_not_have_get_a_line(arm, pretrain):
    told = " ".join(CliRunner().invoke(app, ["pretrain", *arm(10)]).stderr.split())
    assert "demonstrations: joints goes from -9" in told
    assert "rad, the robot's limits are -3.2 to 3.2: another unit, or another zero?" in told
    assert told.count("demonstrations:") == 1
    assert "demonstrations:" not in pretrain("--steps", "1").stderr
