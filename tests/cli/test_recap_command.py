"""`fleetloop recap`: values fitted to real recordings, and the picture of what they say."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image
from typer.testing import CliRunner

from fleetloop.actor.options import ActorOptions
from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.actor.rollout import rollout
from fleetloop.algorithms.recap_file import FORMAT
from fleetloop.algorithms.recap_judgement import Judgement
from fleetloop.algorithms.recap_value import TaskScale
from fleetloop.cli.base import make_base
from fleetloop.cli.config import load_config
from fleetloop.cli.main import app
from fleetloop.cli.recap_plot import draw
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, Episode, EpisodeMeta
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import Recording, seal
from fleetloop.core.robot import RobotKind
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec
from fleetloop.lab.candidate import from_base
from fleetloop.lab.demonstrations import record_demonstrations
from fleetloop.learner.assemble import open_demonstrations
from fleetloop.sim import scene
from fleetloop.sim.plugin import SimOptions
from fleetloop.sim.robot import SimRobot, sim_spec
from fleetloop.sim.tasks import sim_task

WALLS = sim_task("box/walls").task
CALM = RobotKind("sim", SimOptions.under(scene.CALM))
SEEING = RobotSpec("eye", (FeatureSpec("x", (1,)),), FeatureSpec("action", (1,)), 20.0, (CameraSpec("top", 16, 16),))


META = EpisodeMeta(
    new_id(1.0, np.random.default_rng(1)), "run", "r", "s", WALLS.id, "", "online", sim_spec(), clock="virtual"
)
QUICK = ["--set", "algorithm.options.value_steps=3"]


class Fails:
    rank = Judge.SIMULATOR

    def verdict(self, observation):
        return Outcome.FAILURE if observation.taken > 1 else None


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A demonstration, an untrained base, and an episode of it that failed."""
    directory = tmp_path_factory.mktemp("room")
    record_demonstrations(directory / "demonstrations", {WALLS: 1}, CALM, processes=1)
    small = ["policy.options.width=16", "policy.options.depth=1", "pretrain.steps=2", "pretrain.batch=8"]
    config = load_config(None, small, {"directories.base": str(directory / "base")})
    make_base(config, open_demonstrations(directory / "demonstrations"))
    robot, rollouts = SimRobot(Virtual(), 1, reset_s=0.0), directory / "rollouts"
    rollouts.mkdir()
    meta = EpisodeMeta(
        new_id(1.0, np.random.default_rng(1)), "run", "r", "site", WALLS.id, "", "online", robot.spec, clock="virtual"
    )

    def record(start):
        return EpisodeWriter(RealDisk(), rollouts, replace(meta, instruction=start.instruction), 90)

    policy = from_base(directory / "base").acting()
    rollout(robot, policy, replace(WALLS, time_limit_s=2), 1, judge=Fails(), record=record, options=ActorOptions())
    seal(RealDisk(), rollouts / f"{meta.id}.partial")
    return directory


@pytest.fixture(autouse=True)
def _there(room, monkeypatch):
    monkeypatch.chdir(room)


def fleetloop(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


def fit():
    return fleetloop("recap", "fit", "--episodes", "demonstrations", "--episodes", "rollouts", *QUICK)


def test_values_are_fitted_to_demonstrations_and_rollouts_and_drawn(room):
    fitted = fit()
    assert fitted.exit_code == 0, fitted.output
    assert "box/walls" in fitted.output
    assert "values.safetensors: 2 episodes, 3 steps" in fitted.output
    failed = next((room / "rollouts").glob("*.arrow"))
    drawn = fleetloop("recap", "plot", str(failed), "--values", "values.safetensors", "--out", "failed.png")
    assert drawn.exit_code == 0, drawn.output
    picture = np.asarray(Image.open(room / "failed.png").convert("RGB"))
    assert picture.shape[1] > 1000
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50, "nothing is drawn"


def test_without_rollouts_it_fits_and_says_what_is_missing():
    result = fleetloop("recap", "fit", "--set", "algorithm.options.value_steps=2", "--out", "demos-only.safetensors")
    assert result.exit_code == 0, result.output
    assert "no failures" in result.output


def test_what_is_wrong_is_named(room):
    fit()
    demonstration = str(next((room / "demonstrations").glob("*.arrow")))
    nothing = fleetloop("recap", "fit", "--episodes", "nowhere")
    assert (nothing.exit_code, "nowhere" in nothing.output) == (1, True)
    unlearned = fleetloop("recap", "plot", demonstration)
    assert "holds no checkpoint with a live value function" in unlearned.output
    lost = fleetloop("recap", "plot", demonstration, "--values", "values.safetensors", "--out", "no/such/place.png")
    assert "can't be written" in lost.output
    odd = fleetloop("recap", "plot", demonstration, "--values", "values.safetensors", "--out", "plot.xyz")
    assert (odd.exit_code, "plot.xyz: can't be written" in odd.output) == (1, True)
    assert not (room / "plot.xyz").exists()
    drawn = fleetloop("recap", "plot", demonstration, "--values", "values.safetensors", "--out", "plot.svg")
    assert drawn.exit_code == 0, drawn.output
    assert (room / "plot.svg").read_text().startswith("<?xml")


def test_a_directory_without_episodes_is_named_beside_a_good_one():
    mistyped = fleetloop("recap", "fit", "--episodes", "demonstrations", "--episodes", "rolouts", "--out", "none")
    assert mistyped.exit_code == 1
    assert "rolouts: is no directory" in mistyped.output


def test_nothing_to_fit_is_said_and_leaves_no_file(tmp_path):
    RealDisk().make(tmp_path / "aborted")
    writer = EpisodeWriter(RealDisk(), tmp_path / "aborted", META, jpeg_quality=90)
    writer.finish(Ending(Outcome.ABORTED, Judge.NOBODY))
    seal(RealDisk(), writer.path)
    out = tmp_path / "values.safetensors"
    said = fleetloop("recap", "fit", "--episodes", str(tmp_path / "aborted"), *QUICK, "--out", str(out))
    assert said.exit_code == 1
    assert "1 episodes, and nothing to fit a value function to" in said.output
    assert not out.exists()


def test_an_episode_of_a_robot_that_lacks_an_input_is_named(tmp_path):
    id = record(tmp_path, replace(META, spec=SEEING))
    lacking = fleetloop("recap", "fit", "--episodes", "demonstrations", "--episodes", str(tmp_path))
    assert lacking.exit_code == 1
    assert f"episode {id}, hands: the policy needs hands" in lacking.output


def test_evaluations_teach_no_value_function(tmp_path):
    record(tmp_path, replace(META, purpose="evaluation"))
    nothing = fleetloop("recap", "fit", "--episodes", str(tmp_path))
    assert "holds no sealed episode to learn from" in nothing.output
    record(tmp_path, replace(META, id=new_id(2.0, np.random.default_rng(2))))
    fitted = fleetloop("recap", "fit", "--episodes", str(tmp_path), *QUICK, "--out", str(tmp_path / "values"))
    assert "values: 1 episodes" in fitted.output


def test_it_fits_beside_another_algorithm_whose_options_are_in_the_file(tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text("algorithm: {name: hg_dagger, options: {successful_autonomous: true}}\n")
    fitted = fleetloop("recap", "fit", "--config", str(file), *QUICK, "--out", str(tmp_path / "values"))
    assert fitted.exit_code == 0, fitted.output
    assert "3 steps" in fitted.output
    file.write_text("algorithm: {name: recap, options: {value_steps: 2}}\n")
    fitted = fleetloop("recap", "fit", "--config", str(file), "--out", str(tmp_path / "values"))
    assert "2 steps" in fitted.output, "recap's own options are to be kept"


def test_values_of_any_number_of_bins_are_drawn(room, tmp_path):
    values, demonstration = tmp_path / "values", str(next((room / "demonstrations").glob("*.arrow")))
    fleetloop("recap", "fit", *QUICK, "--set", "algorithm.options.bins=31", "--out", str(values))
    drawn = fleetloop("recap", "plot", demonstration, "--values", str(values), "--out", str(tmp_path / "it.png"))
    assert drawn.exit_code == 0, drawn.output
    safetensors.numpy.save_file({"nothing": np.zeros(1)}, values, metadata={FORMAT: '{"version": 1, "scales": {}}'})
    wrong = fleetloop("recap", "plot", demonstration, "--values", str(values))
    assert "is no value function of this policy" in wrong.output


def record(directory, meta):
    """A sealed episode of two frames; returns its id."""
    recording = Recording(RealDisk(), directory, meta)
    for tick in range(2):
        state = {item.name: np.zeros(item.shape, item.dtype) for item in meta.spec.state}
        images = {camera.name: _jpeg() for camera in meta.spec.cameras}
        sent = np.zeros(meta.spec.action.shape, np.float32)
        seen = Observation(state, tick / 20, images_taken=dict.fromkeys(images, 0.0))
        recording.add(Frame(tick, tick / 20, tick / 20, seen, sent, sent, Source.POLICY, 1, 0, 0), images)
    recording.finish(Ending(Outcome.FAILURE, Judge.SIMULATOR))
    seal(RealDisk(), recording.path)
    return meta.id


def test_frames_of_a_camera_stand_above_the_curves(tmp_path):
    class Brightness(torch.nn.Module):
        def look(self, episode, frames):
            return {"x": episode.state("x")[frames]}

        def logits(self, sights, instructions, instruction):
            return torch.from_numpy(np.tile(sights["x"], (1, 5)))

    meta = EpisodeMeta(new_id(1.0, np.random.default_rng(1)), "run", "r", "s", "see", "look", "online", SEEING)
    recording = Recording(RealDisk(), tmp_path, meta)
    for tick in range(20):
        seen = Observation({"x": np.zeros(1, np.float32)}, tick / 20, images_taken={"top": 0.0})
        sent = np.zeros(1, np.float32)
        frame = Frame(tick, tick / 20, tick / 20, seen, sent, sent, Source.HUMAN, 1, 0, 0)
        recording.add(frame, {"top": _jpeg()})
    recording.finish(Ending(Outcome.ABORTED, Judge.NOBODY))
    episode = Episode.open(seal(RealDisk(), recording.path).path)
    draw(tmp_path / "seen.png", episode, Judgement(1, {"see": TaskScale(20, 20, 5)}, Brightness()))
    picture = np.asarray(Image.open(tmp_path / "seen.png").convert("RGB")).reshape(-1, 3).astype(int)
    red = (picture[:, 0] > 200) & (picture[:, 1] < 60) & (picture[:, 2] < 60)
    assert red.mean() > 0.02, "the camera's red pictures are not there"


def _jpeg() -> bytes:
    import io

    file = io.BytesIO()
    Image.new("RGB", (16, 16), (250, 10, 10)).save(file, "JPEG")
    return file.getvalue()
