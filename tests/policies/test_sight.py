"""Frozen eyes: made from frames, part of a policy, looked through once per frame, shipped unchanged."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.actor.rollout import rollout
from fleetloop.algorithms.bc import BehaviourCloning
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode, EpisodeMeta
from fleetloop.core.errors import ConfigInvalid, SpecMismatch
from fleetloop.core.frame import Observation
from fleetloop.core.ids import new_id
from fleetloop.core.operator import Drive
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import seal
from fleetloop.core.spec import FeatureSpec
from fleetloop.learner.arrival import features_of, prepare
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.export import release_weights
from fleetloop.learner.options import OptimizerOptions, PretrainOptions
from fleetloop.learner.pretrain import pretrain
from fleetloop.learner.trainer import Trainer
from fleetloop.policies.plugin import Flow
from fleetloop.policies.sight_file import EncoderInvalid, encoder_options, write_encoder
from fleetloop.policies.sight_options import EncoderOptions
from fleetloop.policies.sight_training import errors, lesson_of, train_sight
from fleetloop.sim.robot import CAMERAS, SimRobot, sim_spec
from fleetloop.sim.survey import survey
from fleetloop.sim.tasks import sim_task

pytestmark = pytest.mark.gl

TASK = sim_task("restock/shelf").task
BC = BehaviourCloning(BehaviourCloning.Options())
PX, FRAMES = 64, 12
OPTIONS = EncoderOptions(image_px=PX, steps=60, batch=16, threads=1)
CONFIG = {"observe": "images", "image_px": PX, "width": 32, "depth": 2, "horizon": 4, "execute": 2, "pointers": 2}


class Driver:
    name, wants_attention = "driver", True

    def __init__(self, robot: SimRobot) -> None:
        self._robot = robot

    def start(self, instruction: str) -> None:
        pass

    def watch(self, view) -> Drive:
        return Drive(self._robot.action())


class Soon:
    rank = Judge.SIMULATOR

    def __init__(self) -> None:
        self._left = FRAMES

    def verdict(self, observation: Observation) -> Outcome | None:
        self._left -= 1
        return Outcome.SUCCESS if self._left <= 0 else None


@pytest.fixture(scope="module")
def frames():
    return survey(TASK.id, 1000, 0, 60, PX)


@pytest.fixture(scope="module")
def trained(frames):
    return train_sight({TASK.id: [frames]}, {TASK.id: [frames]}, sim_spec(PX), OPTIONS)


@pytest.fixture(scope="module")
def encoder(trained, tmp_path_factory):
    directory = tmp_path_factory.mktemp("encoder")
    write_encoder(RealDisk(), directory, *trained)
    return directory


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Episode, list[Observation]]:
    """An episode of the expert's, and what the robot saw before JPEG."""
    directory, robot, seen = tmp_path_factory.mktemp("spool"), SimRobot(Virtual(), 1000, image_px=PX, reset_s=0.0), []
    meta = EpisodeMeta(
        new_id(1_700_000_000, np.random.default_rng(0)), "run", "robot-1", "site-0", TASK.id, "", "demonstration",
        robot.spec, seed=1, clock="virtual",
    )  # fmt: skip

    def record(start):
        writer = EpisodeWriter(RealDisk(), directory, replace(meta, instruction=start.instruction), 95)
        add = writer.add
        writer.add = lambda frame: (seen.append(frame.observation), add(frame))
        record.path = writer.path
        return writer

    rollout(robot, None, TASK, 1, judge=Soon(), operator=Driver(robot), record=record)
    robot.close()
    return Episode.open(seal(RealDisk(), record.path).path), seen


@pytest.fixture
def policy(encoder):
    torch.manual_seed(0)
    return Flow.seeing(CONFIG, sim_spec(PX), encoder)


def buffer_of(policy, episode, scratch=None):
    buffer = ExperienceBuffer(policy.spec, max_replay=9, scratch=scratch)
    buffer.ingest(prepare(episode, BC, policy.spec, features_of(policy)))
    return buffer


def everything(buffer):
    samples = buffer.part(0, Part.OFFLINE)
    return buffer.gather(samples, np.zeros(len(samples), np.int64), np.zeros(len(samples), bool))


def test_it_learns_what_is_there_and_where(frames, trained):
    sight, facts = trained
    untrained, _ = train_sight({TASK.id: [frames]}, {}, sim_spec(PX), OPTIONS.model_copy(update={"steps": 1}))
    before, after = (errors(one, lesson_of([frames], sight.options)) for one in (untrained, sight))
    assert after["position_m_median"] < 0.5 * before["position_m_median"]
    assert after["presence_right"] > 0.8
    assert facts["held_out"][TASK.id] == after
    assert "privileged" in facts["labels"]


def test_its_weights_are_what_a_release_can_carry(trained, policy):
    sight, _ = trained
    shipped = release_weights(policy.state_dict())
    for name, tensor in sight.state_dict().items():
        np.testing.assert_array_equal(shipped[f"encoder.sight.{name}"].astype(np.float32), tensor.numpy())


def test_the_learner_keeps_features_and_not_pixels(policy, recorded, tmp_path):
    batch = everything(buffer_of(policy, recorded[0], tmp_path))
    things = len(policy.encoder.sight.options.things)
    assert {name: seen.shape[1:] for name, seen in batch.seen.items()} == {
        "entities": (things, 15), "mask": (things,), "named": (things,),
    }  # fmt: skip
    assert {path.name for path in tmp_path.glob("*.seen")} == {"entities.seen", "mask.seen", "named.seen"}


def test_what_it_trains_on_is_what_it_sees_when_it_acts(policy, recorded):
    episode, observations = recorded
    batch = everything(buffer_of(policy, episode))
    for frame in (0, FRAMES - 1):
        images = policy.encoder.prepare(observations[frame].images)
        hands = torch.from_numpy(observations[frame].state["hands"])[None]
        found = policy.encoder.sight.estimate(hands, images)
        np.testing.assert_array_equal(batch.seen["mask"][frame], found["mask"][0])
        offset = np.abs(batch.seen["entities"][frame] - found["entities"][0].numpy())[:, :3]
        assert offset.max() < 0.02  # metres: all that JPEG may change


def test_the_label_of_what_is_meant_follows_the_name(policy, recorded):
    episode, _ = recorded
    batch = everything(buffer_of(policy, episode))
    things, words = policy.encoder.sight.options.things, episode.meta.instruction.split()
    thing, place = words[2], f"{words[5]} {words[6]}"  # "put the soup on the upper left shelf"
    for frame in range(FRAMES):
        told = {things[index]: value for index, value in enumerate(batch.seen["named"][frame]) if value > 0}
        found = {thing for thing, there in zip(things, batch.seen["mask"][frame], strict=True) if there}
        assert told == {name: value for name, value in ((thing, 1), (place, 2)) if name in found}


def test_training_changes_everything_but_the_eyes(policy, recorded):
    buffer = buffer_of(policy, recorded[0])
    batch = everything(buffer)
    policy.fit_statistics(batch)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    trainer = Trainer(policy, BC, OptimizerOptions(rate=3e-3, warmup_steps=2), 0)
    losses = [trainer.train(batch, str).losses.mean() for _ in range(25)]
    assert losses[-1] < 0.8 * losses[0]
    changed = {name for name, tensor in policy.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert not any(name.startswith("encoder.sight.") for name in changed)


def test_a_release_acts_by_cameras_and_grippers_alone(policy, recorded):
    episode, observations = recorded
    policy = pretrain(policy, BC, [episode], PretrainOptions(steps=3, batch=8, held_out=0.0)).policy
    weights = release_weights(policy.state_dict())
    acting = Flow.acting(json.loads(json.dumps(policy.config)), policy.spec, weights)
    seen = observations[0]
    blind = Observation({"hands": seen.state["hands"]}, 0.0, {name: seen.images[name] for name in CAMERAS})
    chunks = [acting.chunk(one, episode.meta.instruction, rng=np.random.default_rng(0)) for one in (seen, blind)]
    np.testing.assert_array_equal(*chunks)
    dark = replace(blind, images={name: np.zeros_like(image) for name, image in blind.images.items()})
    assert not np.allclose(chunks[0], acting.chunk(dark, episode.meta.instruction, rng=np.random.default_rng(0)))


def test_its_value_network_looks_through_the_same_eyes(policy, recorded):
    critic, frames = policy.critic(5), np.arange(3)
    sights = critic.look(recorded[0], frames)
    assert not set(sights) & set(CAMERAS)
    logits = critic.logits(sights, ("put it away",), np.zeros(3, np.int64))
    assert logits.shape == (3, 5)
    assert torch.isfinite(logits).all()


def test_the_base_of_a_policy_that_sees_can_be_read_again(policy, recorded):
    made = pretrain(policy, BC, [recorded[0]], PretrainOptions(steps=2, batch=8, held_out=0.0)).policy
    again = Flow.build(made.config, sim_spec(PX))
    again.load_state_dict(made.state_dict())
    frozen = {name for name, weight in again.named_parameters() if not weight.requires_grad}
    assert frozen == {name for name, weight in made.named_parameters() if not weight.requires_grad}
    assert frozen == {f"encoder.sight.{name}" for name, _ in again.encoder.sight.named_parameters()}


def test_an_encoder_for_the_same_cameras_in_another_order_is_refused(encoder):
    """Its layers know a camera by its place."""
    cameras = sim_spec(PX).cameras
    assert len(cameras) > 1
    with pytest.raises(EncoderInvalid, match="was made for"):
        encoder_options(encoder, cameras[::-1])


def test_an_encoder_for_other_images_is_refused(encoder):
    with pytest.raises(EncoderInvalid, match=r"was made for overhead 64x64, .*; the policy sees overhead 48x48"):
        Flow.seeing({**CONFIG, "image_px": 48}, sim_spec(PX), encoder)
    with pytest.raises(ConfigInvalid, match=r"policy\.options\.observe: is `state`"):
        Flow.seeing({"observe": "state"}, sim_spec(PX), encoder)


def test_a_robot_without_grippers_is_told_that_the_encoder_needs_them(encoder):
    joints = replace(sim_spec(PX), state=(FeatureSpec("joints", (7,)),))
    with pytest.raises(SpecMismatch, match=r"hands: the encoder needs .* grippers with the fields x, y"):
        Flow.seeing(CONFIG, joints, encoder)


def test_a_directory_without_a_sound_encoder_is_named(encoder, tmp_path):
    with pytest.raises(EncoderInvalid, match="holds no image encoder"):
        Flow.seeing(CONFIG, sim_spec(PX), tmp_path)
    for name in ("encoder.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((encoder / name).read_bytes())
    damaged = bytearray((tmp_path / "weights.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(bytes(damaged))
    with pytest.raises(EncoderInvalid, match=r"weights\.safetensors: is not what encoder\.json says"):
        Flow.seeing(CONFIG, sim_spec(PX), tmp_path)
