"""A small world for the learner's tests: a robot, episodes as real files, a tiny policy, a hub in memory."""

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from fleetloop.algorithms.hg_dagger import HGDagger, HGDaggerOptions
from fleetloop.core.algorithm import Algorithm
from fleetloop.core.clock import Clock, Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, Episode, EpisodeMeta
from fleetloop.core.errors import HubRefused, HubUnavailable, LeaseLost
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.hub import Event, LearnerLease, LearnerOrders, LearnerStatus
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.core.policy import Batch
from fleetloop.core.recording import Recording, seal
from fleetloop.core.release import BlobEntry, Release
from fleetloop.core.spec import CameraSpec, FeatureSpec, PolicySpec, RobotSpec
from fleetloop.learner.assemble import Surroundings, assemble
from fleetloop.learner.base import Base
from fleetloop.learner.checkpoint import Checkpoint
from fleetloop.learner.loop import Learner
from fleetloop.learner.options import LearnerOptions, OptimizerOptions, SamplerOptions

HORIZON = 4
POSITION = FeatureSpec("position", (3,), unit="m")
NAMED = FeatureSpec("named", (2,), dtype="int64", label=True)
ROBOT = RobotSpec("slider", (POSITION, NAMED), FeatureSpec("action", (2,)), 20.0)
SEEING_ROBOT = replace(ROBOT, cameras=(CameraSpec("top", 24, 32),))
SPEC = PolicySpec((POSITION,), ROBOT.action, HORIZON, 2, 20.0)
SOURCES = {"p": Source.POLICY, "h": Source.HUMAN, "-": Source.HOLD, "b": Source.BLEND}
KEYS = "".join(SOURCES)


class TinyPolicy(nn.Module):
    """Position in, chunk out."""

    def __init__(self, width: int = 16, spec: PolicySpec = SPEC) -> None:
        super().__init__()
        self.spec, self.config = spec, {"width": width}
        self.register_buffer("mean", torch.zeros(0))
        self.stats = nn.Module()
        self.stats.register_buffer("mean", torch.zeros(3))
        self.body = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, HORIZON * 2))

    @classmethod
    def build(cls, config: Mapping[str, Any], robot: RobotSpec) -> "TinyPolicy":
        return cls(**config)

    def fit_statistics(self, batch: Batch) -> None:
        self.stats.mean.copy_(torch.from_numpy(batch.state["position"]).mean(0))

    def loss(self, batch: Batch, *, rng: torch.Generator) -> torch.Tensor:
        position = torch.from_numpy(batch.state["position"]) - self.stats.mean
        noisy = position + 0.01 * torch.randn(position.shape, generator=rng)
        chunk = self.body(noisy).view(len(batch), HORIZON, 2)
        mask = torch.from_numpy(batch.mask)
        error = (chunk - torch.from_numpy(batch.actions)).abs().mean(-1)
        return (error * mask).sum(1) / mask.sum(1)


def write_episode(
    directory: Path,
    number: int,
    sources: str,
    *,
    task: str = "push/left",
    purpose: str = "online",
    outcome: Outcome = Outcome.SUCCESS,
    instruction: str = "push it",
    robot: RobotSpec = ROBOT,
    missed: Sequence[int] = (),
    release: int = 1,
) -> Path:
    """A sealed episode with one frame per letter of `sources`; before each frame of `missed` a tick is missing.

    The action of a frame is (its source, its index / 100), so that a test sees where a target came from.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    id = new_id(1_700_000_000 + number, rng)
    meta = EpisodeMeta(id, "run", "robot-1", "site-1", task, instruction, purpose, robot, clock="virtual")
    recording = Recording(RealDisk(), directory, meta)
    tick = -1
    for index, letter in enumerate(sources):
        tick += 2 if index in missed else 1
        state = {"position": rng.normal(size=3).astype(np.float32), "named": np.array([index, number])}
        if robot.embodiment != "slider":
            state = {feature.name: np.zeros(feature.shape, feature.dtype) for feature in robot.state}
        sent = np.array([SOURCES[letter], index / 100], np.float32)
        taken = {camera.name: 0.0 for camera in robot.cameras}
        observation = Observation(state, tick / 20, images_taken=taken)
        frame = Frame(
            tick, tick / 20, 1_700_000_000 + tick / 20, observation, sent, sent, SOURCES[letter], release, 0, 0
        )
        recording.add(frame, {camera.name: jpeg(camera, index) for camera in robot.cameras})
    recording.finish(Ending(outcome, Judge.SIMULATOR))
    return seal(RealDisk(), recording.path).path


def jpeg(camera: CameraSpec, brightness: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (camera.width, camera.height), (brightness, 2 * brightness, 100)).save(file, "JPEG", quality=95)
    return file.getvalue()


def demonstrations(directory: Path, count: int, *, tasks: Sequence[str] = ("push/left",)) -> list[Episode]:
    """Some of each task, 12 frames each."""
    return [
        Episode.open(write_episode(directory, 1000 * index + number, "h" * 12, task=task, purpose="demonstration"))
        for index, task in enumerate(tasks, start=1)
        for number in range(count)
    ]


def hg_dagger(**options: Any) -> HGDagger:
    return HGDagger(HGDaggerOptions(**options))


class MemoryHub:
    """As much of a hub as a learner sees. `away` makes every call raise HubUnavailable."""

    def __init__(self) -> None:
        self.away = False
        self.files: dict[str, Path] = {}
        self.log: list[Event] = []
        self.blobs: dict[str, bytes] = {}
        self.published: list[Release] = []
        self.statuses: list[LearnerStatus] = []
        self.fence = 0
        self.fetched: list[str] = []
        self.lose_next_answer = False
        self.removed: set[str] = set()

    def add(self, path: Path) -> str:
        episode = Episode.open(path)
        self.files[episode.meta.id] = path
        data = {"task": episode.meta.task, "purpose": episode.meta.purpose}
        self.log.append(Event(len(self.log) + 1, "episode", episode.meta.id, data))
        return episode.meta.id

    def say(self, episode: str, judge: Judge = Judge.PERSON, **what: Any) -> None:
        # By clocks that go backwards: what came last is the newest all the same.
        id = new_id(1_800_000_000 - len(self.log), np.random.default_rng(len(self.log)))
        annotation = Annotation(id, episode, "ada", judge, 0.0, **what)
        self.log.append(Event(len(self.log) + 1, "annotation", id, annotation.to_json()))

    def bury(self, episode: str) -> None:
        """A tombstone, as retention gives one."""
        seq = len(self.log) + 1
        self.log = [
            replace(event, data={**event.data, "tombstone": seq}) if event.ref == episode else event
            for event in self.log
        ]
        self.log.append(Event(seq, "tombstone", episode, {"episode": episode}))

    def remove(self, episode: str) -> None:
        """Its bytes are gone too."""
        self.removed.add(episode)

    def _check(self) -> None:
        if self.away:
            raise HubUnavailable("hub", "is away")

    def events(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> Sequence[Event]:
        self._check()
        found = [event for event in self.log if event.seq > after][:limit]
        if not found and wait_s:
            time.sleep(min(wait_s, 0.01))
        return found

    def get_episode(self, id: str, path: Path) -> None:
        self._check()
        if id not in self.files:
            raise HubRefused("episode", f"{id!r} is not known here", status=404)
        if id in self.removed:
            raise HubRefused("episode", f"{id} is gone: retention removed it", status=410)
        self.fetched.append(id)
        path.write_bytes(self.files[id].read_bytes())

    def claim_lease(self, holder: str) -> LearnerLease:
        self._check()
        self.fence += 1
        return LearnerLease(holder, self.fence, 1e9)

    def renew_lease(self, lease: LearnerLease) -> LearnerLease:
        self._check()
        self._check_fence(lease)
        return lease

    def put_blob(self, hash: str, data: bytes) -> None:
        self._check()
        self.blobs[hash] = data

    def publish(self, release: Release, lease: LearnerLease) -> Release:
        self._check()
        self._check_fence(lease)
        known = [item for item in self.published if item.numbered(0) == release]
        if not known:
            known = [release.numbered(len(self.published) + 1)]
            self.published += known
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise HubUnavailable("hub", "the answer got lost")
        return known[0]

    def release(self, version: int) -> Release:
        self._check()
        if version > len(self.published):
            raise HubRefused("version", f"there is no release {version}", status=404)
        return self.published[version - 1]

    def channel(self, name: str) -> Release | None:
        self._check()
        return self.published[-1] if self.published else None

    def get_blob(self, blob: BlobEntry) -> bytes:
        self._check()
        return self.blobs[blob.hash]

    def report_learner(self, status: LearnerStatus) -> LearnerOrders:
        self._check()
        self.statuses.append(status)
        return LearnerOrders()

    def _check_fence(self, lease: LearnerLease) -> None:
        if lease.fence != self.fence:
            raise LeaseLost("fence", f"{lease.fence} is stale", status=409)


def options(**changes: Any) -> LearnerOptions:
    """Small and unpaced, with every frame in training."""
    values: dict[str, Any] = {
        "batch": 16,
        "steps_per_s": 10.0,
        "held_out": 0.0,
        "metrics_every_steps": 1,
        "tensorboard": False,
        "sampler": SamplerOptions(),
        "optimizer": OptimizerOptions(rate=1e-2, warmup_steps=5),
    }
    return LearnerOptions(**{**values, **changes})


def tiny_base(seed: int = 0) -> Base:
    torch.manual_seed(seed)
    return Base(TinyPolicy(), "tiny", ROBOT)


def learner_at(
    directory: Path,
    hub: Any,
    *,
    clock: Clock | None = None,
    algorithm: Algorithm | None = None,
    demos: Sequence[Episode] = (),
    base: Base | None = None,
    checkpoint: Checkpoint | None = None,
    **changes: Any,
) -> Learner:
    around = Surroundings(hub, clock or Virtual(), RealDisk(), directory)
    return assemble(
        "run",
        options(**changes),
        base or tiny_base(),
        algorithm or hg_dagger(),
        around,
        demonstrations=demos,
        checkpoint=checkpoint,
    )


def advance(learner: Learner, steps: int, *, pull: bool = True) -> None:
    """Drive a learner and everything around it by its virtual clock, for so many optimizer steps."""
    clock, target = learner.parts.clock, learner.steps + steps
    assert isinstance(clock, Virtual)
    while learner.steps < target:
        beat(learner, pull=pull)
        assert not learner.parked, "parked before its time"


def beat(learner: Learner, *, pull: bool = True) -> None:
    parts = learner.parts
    assert isinstance(parts.clock, Virtual)
    if pull:
        parts.feeder.pull()
    parts.clock.sleep_until(learner.step(parts.clock.now()))
    parts.publisher.work(parts.clock.now())
    parts.checkpoints.work()


def weights_of(learner: Learner) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in learner.parts.trainer.state().items()}
