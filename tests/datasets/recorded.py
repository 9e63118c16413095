"""Episodes of a robot that has a bit of everything, as real files."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, Episode, EpisodeMeta
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import Recording, seal
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec

STATE = (
    FeatureSpec("hands", (2, 3), fields=("x", "y", "grip"), unit="m"),
    FeatureSpec("held", (1,), "int64", categories=("nothing", "cup")),
    FeatureSpec("force", (2,), "float64"),
    FeatureSpec("named", (2,), "int32", label=True),
)
CAMERAS = (CameraSpec("top", 24, 32), CameraSpec("wrist", 16, 16))
ACTION = FeatureSpec("target", (2,), fields=("x", "y"), low=-1, high=1)
SEEING = RobotSpec("two-hands", STATE, ACTION, 12.5, CAMERAS)
BLIND = RobotSpec("two-hands", STATE, ACTION, 12.5)


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth, so that a video keeps it well."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    colour = rng.uniform(0, 1, (3, 3))
    return (255 * np.clip(np.stack([x, y, 1 - x], -1) @ colour / 2, 0, 1)).astype(np.uint8)


def record(
    directory: Path,
    number: int,
    *,
    frames: int = 6,
    spec: RobotSpec = SEEING,
    instruction: str = "put the cup away",
    outcome: Outcome = Outcome.SUCCESS,
    robot: str = "robot-1",
    task: str = "cups/away",
    padding: int = 0,
    cut: int | None = None,
    purpose: str = "online",
) -> Episode:
    """A sealed episode; two of its frames in the middle are a person's, and a tick before its last is missing.

    Each image is followed by `padding` bytes, which no decoder minds, or is but its first `cut` bytes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    meta = EpisodeMeta(
        new_id(1_700_000_000 + number, rng), "run", robot, "site-1", task, instruction, purpose, spec,
        operator="ann", seed=number, reset_s=1.5, clock="scaled", clock_offset_s=1e9,
    )  # fmt: skip
    recording = Recording(RealDisk(), directory, meta)
    for index in range(frames):
        tick = index + (index == frames - 1)
        images = {camera.name: picture(rng, camera.height, camera.width) for camera in spec.cameras}
        taken = dict.fromkeys(images, tick / 12.5 - 0.01)
        state = {
            "hands": rng.normal(size=(2, 3)).astype(np.float32),
            "held": rng.integers(0, 2, 1),
            "force": rng.normal(size=2),
            "named": rng.integers(0, 9, 2).astype(np.int32),
        }
        state = {feature.name: state[feature.name.split("/")[-1]] for feature in spec.state}
        observation = Observation(state, tick / 12.5, images, taken)
        requested, sent = rng.normal(size=(2, 2)).astype(np.float32)
        source = Source.HUMAN if index in (2, 3) else Source.POLICY
        frame = Frame(
            tick, tick / 12.5, 1e9 + tick / 12.5, observation, requested, sent, source, 3, index // 4, index % 4
        )
        recording.add(frame, {name: jpeg(image)[:cut] + bytes(padding) for name, image in images.items()})
    recording.finish(Ending(outcome, Judge.PERSON, 1))
    return Episode.open(seal(RealDisk(), recording.path).path)


def jpeg(image: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, "JPEG", quality=92)
    return sink.getvalue()


def column_names(episode: Episode) -> list[str]:
    return list(episode._batch.schema.names)
