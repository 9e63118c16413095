"""From rendered pictures to a policy that acts on them: recorded, sealed, cached, trained on, published, driven."""

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.actor.rollout import RolloutResult, rollout
from fleetloop.algorithms.bc import BehaviourCloning
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode, EpisodeMeta
from fleetloop.core.errors import SpecMismatch
from fleetloop.core.frame import Observation
from fleetloop.core.ids import new_id
from fleetloop.core.operator import Drive
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import seal
from fleetloop.core.spec import check_fit
from fleetloop.learner.arrival import prepare
from fleetloop.learner.base import Base, load_base, write_base
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.options import OptimizerOptions, PretrainOptions
from fleetloop.learner.pretrain import pretrain, statistics_batch
from fleetloop.learner.trainer import Trainer
from fleetloop.policies.flow import FlowPolicy
from fleetloop.sim.robot import CAMERAS, SimRobot, sim_spec
from fleetloop.sim.tasks import sim_task
from fleetloop.weights.route import obtain

sys.path.append(str(Path(__file__).parents[1] / "learner"))
from learner_world import MemoryHub, advance, learner_at

pytestmark = pytest.mark.gl

TASK = sim_task("box/walls").task
BC = BehaviourCloning(BehaviourCloning.Options())
PX, POLICY_PX, QUALITY, FRAMES = 96, 64, 90, 24
CONFIG = {"observe": "images", "image_px": POLICY_PX, "width": 64, "depth": 2, "horizon": 4, "execute": 2}


class Demonstrator:
    """The scripted expert at the wheel from the first tick on."""

    name, wants_attention = "demonstrator", True

    def __init__(self, robot: SimRobot) -> None:
        self._robot = robot

    def start(self, instruction: str) -> None:
        pass

    def watch(self, view) -> Drive:
        return Drive(self._robot.action())


class After:
    """Says success after so many ticks: the pictures matter here, not the box."""

    rank = Judge.SIMULATOR

    def __init__(self, ticks: int) -> None:
        self._left = ticks

    def verdict(self, observation: Observation) -> Outcome | None:
        self._left -= 1
        return Outcome.SUCCESS if self._left <= 0 else None


class Recorder:
    """Writes episodes of a robot as an actor does, and keeps the pictures as they were before JPEG."""

    def __init__(self, robot: SimRobot, directory: Path) -> None:
        self.robot, self.directory = robot, directory
        self.pictures: list[dict[str, np.ndarray]] = []

    def episode(self, seed: int, *, policy: FlowPolicy | None = None) -> tuple[Episode, RolloutResult]:
        meta = EpisodeMeta(
            new_id(1_700_000_000 + seed, np.random.default_rng(seed)), "run", "robot-1", "site-0", TASK.id, "",
            "online" if policy else "demonstration", self.robot.spec, seed=seed, clock="virtual",
        )  # fmt: skip
        self.pictures, paths = [], []

        def record(start):
            writer = EpisodeWriter(RealDisk(), self.directory, replace(meta, instruction=start.instruction), QUALITY)
            paths.append(writer.path)
            add = writer.add

            def keep(frame):
                self.pictures.append(dict(frame.observation.images))
                add(frame)

            writer.add = keep
            return writer

        operator = None if policy else Demonstrator(self.robot)
        result = rollout(
            self.robot, policy, TASK, seed, judge=After(FRAMES), operator=operator, record=record, release=1
        )
        return Episode.open(seal(RealDisk(), paths[0]).path), result


@pytest.fixture(scope="module")
def robot() -> Iterator[SimRobot]:
    torch.set_num_threads(1)
    robot = SimRobot(Virtual(), image_px=PX, reset_s=0.0)
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def recorded(robot, tmp_path_factory) -> tuple[list[Episode], list[dict[str, np.ndarray]]]:
    """Two demonstrations, and the pictures of the second as they were rendered."""
    recorder = Recorder(robot, tmp_path_factory.mktemp("spool"))
    return [recorder.episode(seed)[0] for seed in (1, 2)], recorder.pictures


@pytest.fixture(scope="module")
def demonstrations(recorded) -> list[Episode]:
    return recorded[0]


@pytest.fixture
def policy() -> FlowPolicy:
    torch.manual_seed(0)
    return FlowPolicy.build(CONFIG, sim_spec(PX))


def buffer_of(episodes, policy, scratch: Path | None = None) -> ExperienceBuffer:
    buffer = ExperienceBuffer(policy.spec, max_replay=9, scratch=scratch)
    for episode in episodes:
        buffer.ingest(prepare(episode, BC, policy.spec))
    return buffer


def everything(buffer: ExperienceBuffer):
    samples = buffer.part(0, Part.OFFLINE)
    return buffer.gather(samples, np.zeros(len(samples), np.int64), np.zeros(len(samples), bool))


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over pixels, 0 to 255."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_it_sees_cameras_and_grippers_and_none_of_the_simulators_secrets(policy):
    assert {camera.name for camera in policy.spec.cameras} == set(CAMERAS)
    assert {feature.name for feature in policy.spec.inputs} == {"hands"}
    check_fit(sim_spec(PX), policy.spec)
    with pytest.raises(SpecMismatch, match="camera overhead; the robot offers cameras none"):
        check_fit(sim_spec(), policy.spec)


def test_an_episode_holds_what_each_camera_showed(recorded):
    episodes, pictures = recorded
    assert len(episodes[1]) == len(pictures) == FRAMES
    for camera in CAMERAS:
        for frame in (0, FRAMES - 1):
            kept = np.asarray(Image.open(io.BytesIO(episodes[1].jpeg(camera, frame))))
            assert kept.shape == (PX, PX, 3)
            assert difference(kept, pictures[frame][camera]) < 6
        assert difference(pictures[0][camera], pictures[-1][camera]) > 0.2


def test_what_it_trains_on_is_what_it_acts_on(recorded, policy, tmp_path):
    episodes, pictures = recorded
    batch = everything(buffer_of(episodes[1:], policy, tmp_path))
    for frame in (0, FRAMES // 2, FRAMES - 1):
        seen = policy.encoder.prepare(pictures[frame])
        for camera in CAMERAS:
            assert batch.seen[camera][frame].shape == (POLICY_PX, POLICY_PX, 3)
            assert difference(batch.seen[camera][frame], seen[camera][0].numpy()) < 6


def test_the_cache_is_the_same_in_memory_and_on_disk(demonstrations, policy, tmp_path):
    cached = everything(buffer_of(demonstrations, policy, tmp_path)).seen
    held = everything(buffer_of(demonstrations, policy)).seen
    assert {path.name for path in tmp_path.iterdir()} >= {f"{camera}.seen" for camera in CAMERAS}
    assert all(np.array_equal(cached[camera], held[camera]) for camera in CAMERAS)


def test_training_lowers_the_loss_and_the_eyes_learn(demonstrations, policy, tmp_path):
    buffer = buffer_of(demonstrations, policy, tmp_path)
    batch = everything(buffer)
    policy.fit_statistics(statistics_batch(buffer, 48, 0))
    trainer = Trainer(policy, BC, OptimizerOptions(rate=3e-3, warmup_steps=5), 0)
    before = {name: weight.detach().clone() for name, weight in policy.encoder.eyes.named_parameters()}
    losses = [trainer.train(batch, str).losses.mean() for _ in range(25)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    changed = {name for name, weight in policy.encoder.eyes.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == set(before)


def test_what_only_a_camera_shows_can_be_learned(demonstrations, policy, tmp_path):
    buffer = buffer_of(demonstrations, policy, tmp_path)
    batch = everything(buffer)
    late = np.arange(len(batch)) % FRAMES >= FRAMES // 2  # by then the grippers are elsewhere in the pictures
    hands = np.broadcast_to(batch.state["hands"][:1], batch.state["hands"].shape).copy()
    actions = np.broadcast_to(batch.actions[:1, :1], batch.actions.shape).copy()
    actions[late, :, 0] += 0.2
    blind = replace(batch, state={**batch.state, "hands": hands}, actions=actions)
    policy.fit_statistics(blind)
    trainer = Trainer(policy, BC, OptimizerOptions(rate=3e-3, warmup_steps=5), 0)
    for _ in range(60):
        trainer.train(blind, str)
    policy.eval()

    def x(row):
        images = {camera: images[row] for camera, images in blind.seen.items()}
        seen = Observation({"hands": blind.state["hands"][row]}, 0.0, images)
        return policy.chunk(seen, batch.instructions[0], rng=np.random.default_rng(0))[:, 0].mean()

    assert np.mean([x(row) for row in np.flatnonzero(late)[2:8]]) > 0.1 + np.mean([x(row) for row in (0, 1, 2, 3, 4)])


def test_a_base_is_pretrained_written_and_read(demonstrations, policy, tmp_path):
    options = PretrainOptions(steps=3, batch=8, held_out=0.0)
    done = pretrain(policy, BC, demonstrations, options)
    write_base(RealDisk(), tmp_path / "base", Base(done.policy, "flow", sim_spec(PX), done.facts))
    again = load_base(tmp_path / "base").policy
    assert again.spec == policy.spec
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in done.policy.state_dict().items())


def test_a_learner_publishes_a_release_that_drives_by_its_cameras(robot, demonstrations, policy, tmp_path):
    policy.fit_statistics(statistics_batch(buffer_of(demonstrations, policy), 48, 0))
    hub = MemoryHub()
    learner = learner_at(
        tmp_path / "learner", hub, algorithm=BC, demos=demonstrations, base=Base(policy, "flow", sim_spec(PX)),
        publish_every_steps=2, batch=8,
    )  # fmt: skip
    advance(learner, 6)
    release = hub.published[-1]
    weights = obtain(release, hub).weights
    acting = FlowPolicy.acting(release.policy["config"], release.policy_spec(), weights)
    episode, result = Recorder(robot, tmp_path).episode(3, policy=acting)
    assert (result.frames, result.frames_human) == (FRAMES, 0)
    assert len(episode) == FRAMES
    prepare(episode, BC, acting.spec)

    seen = robot.observe()
    chunks = [acting.chunk(one, "raise the walls", rng=np.random.default_rng(0)) for one in (seen, _in_the_dark(seen))]
    assert np.isfinite(chunks[0]).all()
    assert not np.allclose(chunks[0], chunks[1])


def _in_the_dark(observation: Observation) -> Observation:
    return replace(observation, images={name: np.zeros_like(image) for name, image in observation.images.items()})
