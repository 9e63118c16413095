"""The processes of a small fleet, each as something that can be started, advanced, and ended at any moment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from faulty_disk import FaultyDisk, Platters
from torch import nn

from fleetloop.actor.actor import Actor
from fleetloop.actor.clerk import Clerk
from fleetloop.actor.inference import ImmediateInference
from fleetloop.actor.loader import Loader
from fleetloop.actor.options import ActorOptions
from fleetloop.actor.plan import Assignment
from fleetloop.actor.recorder import Recorder
from fleetloop.algorithms.hg_dagger import HGDagger, HGDaggerOptions
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import Disk
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.errors import HubUnavailable
from fleetloop.core.frame import FloatArray, Frame, Observation
from fleetloop.core.hub import Hub, Registration
from fleetloop.core.operator import Drive, HandBack, View
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.spec import FeatureSpec, PolicySpec, RobotSpec
from fleetloop.core.task import Task
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.herald import Herald
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.spool import Spool
from fleetloop.courier.uploader import Uploader
from fleetloop.lab.host import VirtualHost
from fleetloop.learner.assemble import Surroundings, assemble
from fleetloop.learner.base import Base
from fleetloop.learner.checkpoint import latest
from fleetloop.learner.options import LearnerOptions, OptimizerOptions
from fleetloop.learner.restart import catch_up, restore
from fleetloop.weights.codec import Weights, encode

RUN, HZ, TICKS = "faults", 10.0, 12
PLACE, ACTION = FeatureSpec("place", (1,)), FeatureSpec("target", (2,))
ROBOT = RobotSpec("point", (PLACE,), ACTION, HZ)
SPEC = PolicySpec((PLACE,), ACTION, 4, 2, HZ)
TASK = Task("point/far", "go far", time_limit_s=4.0)
COURIER = CourierOptions(
    blobs_at_once=0,
    scan_wall_s=0.1,
    beat_wall_s=0.4,
    look_wall_s=0.2,
    retry_longest_wall_s=1.0,
    poll_wall_s=0.0,
    silent_wall_s=1e9,
)
LEARNER = LearnerOptions(
    batch=8,
    steps_per_s=2.0,
    publish_every_steps=3,
    checkpoint_every_s=2.0,
    keep_checkpoints=2,
    held_out=0.0,
    inbox=4,
    park_after_s=5.0,
    tensorboard=False,
    optimizer=OptimizerOptions(warmup_steps=0),
)

Step = Callable[[float], float]
"""One thread of a process, advanced: told the clock's seconds, it returns those until it wants to go on."""


class Process(Protocol):
    """What runs of a part, from its start to its end; every end is as sudden as by kill -9."""

    threads: tuple[Step, ...]


@dataclass
class Part:
    """A place on a host for a process, which is None while it is down. `life` counts its processes."""

    name: str
    host: "Host"
    start: Callable[["Part", float], Process]
    process: Process | None = None
    disk: FaultyDisk | None = None
    life: int = 0


@dataclass
class Host:
    """A machine: its directory, its disk, and what runs there."""

    name: str
    directory: Path
    platters: Platters
    parts: list[Part] = field(default_factory=list)


class TinyPolicy(nn.Module):
    """Trains and acts, in a few microseconds."""

    spec, config = SPEC, {}

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(1, SPEC.horizon * 2)

    def loss(self, batch: Any, *, rng: torch.Generator) -> torch.Tensor:
        chunk = self.body(torch.from_numpy(batch.state["place"])).view(len(batch), SPEC.horizon, 2)
        return ((chunk - torch.from_numpy(batch.actions)).square().mean(-1) * torch.from_numpy(batch.mask)).mean(-1)


class Acting:
    """Goes one further at every tick, whatever its weights."""

    spec = SPEC

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        ahead = observation.state["place"][0] + 1 + np.arange(SPEC.horizon, dtype=np.float32)
        return np.stack([ahead, np.zeros_like(ahead)], axis=1)


class Point:
    """A robot that is where the last action told it to be."""

    spec = ROBOT

    def __init__(self, clock: Virtual) -> None:
        self._clock, self._place = clock, 0.0

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        self._place = 0.0
        return EpisodeStart(task.instruction, 0.0)

    def observe(self) -> Observation:
        return Observation({"place": np.array([self._place], np.float32)}, self._clock.now())

    def act(self, action: FloatArray) -> FloatArray:
        self._place = float(action[0])
        return np.asarray(action, np.float32)

    def close(self) -> None: ...


class FarEnough:
    """Success after so many ticks."""

    rank = Judge.SIMULATOR

    def verdict(self, observation: Observation) -> Outcome | None:
        return Outcome.SUCCESS if observation.state["place"][0] >= TICKS else None


class Helper:
    """Asks for the robot in the middle of an episode, and drives for as long as it may."""

    name, wants_attention = "helper", False

    def start(self, instruction: str) -> None:
        self.wants_attention = False

    def watch(self, view: View) -> Drive | HandBack | None:
        self.wants_attention = 3 <= view.tick < TICKS - 2
        if not (self.wants_attention and view.attention):
            return HandBack() if view.driving else None
        return Drive(np.array([view.observation.state["place"][0] + 1, 1], np.float32))


class Witness(Recorder):
    """Tells what came to its end durably: (episode, its frames, how it ended)."""

    def __init__(self, *given: Any, tell: Callable[[str, int, Ending], None]) -> None:
        super().__init__(*given)
        self._tell, self._id, self._frames = tell, "", 0

    def _write(self, item: EpisodeMeta | Frame | Ending) -> None:
        recording = self._writer is not None
        super()._write(item)
        if isinstance(item, EpisodeMeta):
            self._id, self._frames = item.id, 0
        elif isinstance(item, Frame):
            self._frames += 1
        elif recording:
            self._tell(self._id, self._frames, item)


class RobotProcess:
    """Actor, recorder and clerk of one robot."""

    def __init__(self, name: str, host: VirtualHost, disk: Disk, now: float, world: Any) -> None:
        self._clock, alarms = Virtual(now), Alarms()
        robot = Point(self._clock)
        self._recorder = Witness(disk, host.spool, ActorOptions().recorder, alarms, tell=world.finished_one)
        self._actor = Actor(
            Assignment(RUN, name, "host", "site", (TASK,), 0),
            robot,
            operator=Helper(),
            judge=FarEnough(),
            inference=ImmediateInference(1),
            recorder=self._recorder,
            clock=self._clock,
            options=ActorOptions(),
            alarms=alarms,
        )
        loader = Loader(host, name, ROBOT, world.acting, self._clock, condition=None, alarms=alarms)
        self._clerk = Clerk(self._actor, loader, host, Registration(name, "host", "site", (TASK.id,), ROBOT), alarms)
        self.threads: tuple[Step, ...] = (self._drive, self._keep)

    def _drive(self, now: float) -> float:
        self._clock.sleep_until(now)
        self._actor.step(now)
        return max(self._actor.due - now, 0.01)

    def _keep(self, now: float) -> float:
        self._recorder.step(now)
        self._clerk.load()
        self._clerk.exchange_mail()
        return 0.1


class CourierProcess:
    """The one courier of a host."""

    def __init__(self, host: VirtualHost, disk: Disk, hub: Hub, clock: Virtual, seed: int) -> None:
        host.forget_halves()
        alarms, rng = Alarms(), np.random.default_rng(seed)
        steps = (
            Uploader(Spool(host.spool, disk, alarms, urgent_bytes=100_000), hub, COURIER, _backoff(rng), alarms).step,
            Fetcher(host, hub, options=COURIER, backoff=_backoff(rng), alarms=alarms, clock=clock).step,
            Herald(host, hub, COURIER, _backoff(rng), alarms, clock=clock).step,
        )
        self.threads: tuple[Step, ...] = tuple(_timeless(step) for step in steps)


class LearnerProcess:
    """The learner, which goes on from its newest checkpoint once the hub is there."""

    def __init__(self, around: Surroundings, seed: int) -> None:
        torch.manual_seed(0)
        base, algorithm = Base(TinyPolicy(), "tiny", ROBOT), HGDagger(HGDaggerOptions(successful_autonomous=True))
        self._checkpoint = latest(around.checkpoints)
        self.learner = assemble(RUN, LEARNER, base, algorithm, around, checkpoint=self._checkpoint)
        self.learner.parts.publisher._jitter = np.random.default_rng(seed)  # the one draw that is not seeded in life
        self._caught_up = self._checkpoint is None
        if self._caught_up:
            self.learner.parts.metrics.rewind(-1)
        self.threads: tuple[Step, ...] = (self._train, self._feed, self._publish, self._write)

    def _train(self, now: float) -> float:
        if not self._caught_up:
            self._catch_up()
            return 0.2
        return max(self.learner.step(now) - now, 0.01)

    def _catch_up(self) -> None:
        assert self._checkpoint is not None
        try:
            catch_up(self.learner, self._checkpoint)
        except HubUnavailable:
            return
        restore(self.learner, self._checkpoint)
        then, now = self._checkpoint.arrays["ledger"], self.learner.parts.buffer.episodes.ledger()
        assert np.array_equal(then, now), f"a restart found its experience changed: {len(now)} episodes of {len(then)}"
        self._caught_up = True

    def _feed(self, now: float) -> float:
        if self._caught_up:
            try:
                self.learner.parts.feeder.pull()
            except HubUnavailable:
                return 0.5
        return 0.1

    def _publish(self, now: float) -> float:
        if self._caught_up:
            self.learner.parts.publisher.work(now)
        return 0.2

    def _write(self, now: float) -> float:
        self.learner.parts.checkpoints.work()
        return 0.3


def weights_hash(weights: Weights) -> str:
    """By which a release names its weights, worked out anew."""
    return encode(weights).result_hash


def _backoff(rng: np.random.Generator) -> Backoff:
    return Backoff(COURIER, rng.spawn(1)[0])


def _timeless(step: Callable[[], float]) -> Step:
    return lambda now: step()
