"""Episodes to check policies and algorithms with: any robot's features, random numbers in them, known drivers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.core.algorithm import Algorithm, FixedLabels, FrameLabels
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, Episode, EpisodeMeta
from fleetloop.core.frame import Array, Frame, Observation, Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.policy import Batch
from fleetloop.core.recording import SEALED, seal
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.learner.arrival import features_of, prepare
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part

P, H, X, B = Source.POLICY, Source.HUMAN, Source.HOLD, Source.BLEND
MISSED_AFTER = 25  # a tick is missed after this one
TOY = RobotSpec(
    "checked_arm",
    (FeatureSpec("joints", (3,), unit="rad"), FeatureSpec("goal", (3,), unit="rad")),
    FeatureSpec("action", (3,), unit="rad", low=-1, high=1),
    10.0,
)
BATCH, TASK = 8, 0


@dataclass(frozen=True)
class Story:
    """An episode in words: what for, who drove for how many ticks, how it ended."""

    purpose: str
    drivers: Sequence[tuple[Source, int]]
    outcome: Outcome


STORIES = (
    Story("demonstration", [(H, 40)], Outcome.SUCCESS),
    Story("demonstration", [(H, 16), (X, 4), (H, 10)], Outcome.SUCCESS),
    Story("online", [(P, 40)], Outcome.SUCCESS),
    Story("online", [(P, 20), (H, 12), (P, 15)], Outcome.SUCCESS),
    Story("online", [(P, 10), (B, 2), (H, 8), (X, 3), (P, 20)], Outcome.FAILURE),
    Story("online", [(P, 50)], Outcome.TIMEOUT),
    Story("online", [(P, 12), (H, 1), (P, 9)], Outcome.ABORTED),
    Story("online", [(P, 1)], Outcome.ABORTED),
    Story("online", [], Outcome.ABORTED),
)


def episodes(directory: Path, spec: RobotSpec, seed: int = 0) -> list[Episode]:
    """All stories, as sealed files in `directory`; two tasks in turn."""
    RealDisk().make(directory)
    return [_tell(directory, spec, story, number, seed) for number, story in enumerate(STORIES)]


def batch_for(policy: Any, told: Sequence[Episode], algorithm: Algorithm | None = None, size: int = BATCH) -> Batch:
    """What the learner would hand to `policy.loss`: real samples of these episodes, some cut short by their end.

    Without an algorithm whose labels say so, or where these let nothing train, every frame does.
    """
    buffer = ExperienceBuffer(policy.spec, max_replay=1000, held_out=0.0)
    for episode in told:
        buffer.ingest(prepare(episode, algorithm or _Everything(), policy.spec, features_of(policy)))
    offline, online = buffer.part(TASK, Part.OFFLINE), buffer.part(TASK, Part.ONLINE)
    samples = np.concatenate([offline, online])
    if algorithm and not len(samples):
        return batch_for(policy, told, size=size)
    chosen = samples[np.linspace(0, len(samples) - 1, size).astype(int)]
    return buffer.gather(chosen, np.full(size, TASK), np.isin(chosen, online))


def every_indicator(count: int) -> npt.NDArray[np.int8]:
    """(count,): positive, negative and none in turn."""
    return np.resize(np.array([1, 0, -1], np.int8), count)


class _Everything(FixedLabels):
    """Every frame trains."""

    name: ClassVar[str] = "everything"

    def label(self, episode: Episode) -> FrameLabels:
        count = len(episode)
        return FrameLabels(
            np.ones(count, bool),
            np.full(count, count, np.int32),
            np.ones(count, np.float32),
            np.full(count, -1, np.int8),
        )


def _tell(directory: Path, spec: RobotSpec, story: Story, number: int, seed: int) -> Episode:
    rng, disk = np.random.default_rng((seed, number)), RealDisk()
    id, task = new_id(float(number), rng), f"check/{number % 2}"
    meta = EpisodeMeta(id, "check", "checked", "site-0", task, f"do task {task[-1]}", story.purpose, spec)
    writer = EpisodeWriter(disk, directory, meta, jpeg_quality=90)
    sources = [source for source, ticks in story.drivers for _ in range(ticks)]
    for row, source in enumerate(sources):
        tick = row + (row > MISSED_AFTER)
        action = rng.uniform(-1, 1, spec.action.shape).astype(np.float32)
        now = tick / spec.control_hz
        chunk = (number, row % 4) if source is P else (-1, -1)
        writer.add(Frame(tick, now, now, _observation(spec, rng, now), action, action, source, 1, *chunk))
    writer.finish(Ending(story.outcome, Judge.SIMULATOR, ticks_missed=int(len(sources) > MISSED_AFTER + 1)))
    seal(disk, writer.path)
    return Episode.open(directory / f"{id}{SEALED}")


def _observation(spec: RobotSpec, rng: np.random.Generator, now: float) -> Observation:
    images = {item.name: rng.integers(0, 255, (item.height, item.width, 3), np.uint8) for item in spec.cameras}
    return Observation({item.name: _value(item, rng) for item in spec.state}, now, images, dict.fromkeys(images, now))


def _value(feature: FeatureSpec, rng: np.random.Generator) -> Array:
    if np.dtype(feature.dtype).kind == "f":
        low, high = (-1.0 if feature.low is None else feature.low), (1.0 if feature.high is None else feature.high)
        return rng.uniform(low, high, feature.shape).astype(feature.dtype)
    return rng.integers(0, max(2, len(feature.categories)), feature.shape).astype(feature.dtype)
