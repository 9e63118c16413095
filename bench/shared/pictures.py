"""Synthetic experience for the loaders' benches: episodes with pictures, and a stop-watch for batches of them."""

import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from fleetloop.core.algorithm import FrameLabels
from fleetloop.core.episode import Ending, Episode, EpisodeMeta, schema_of
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import seal_bytes
from fleetloop.core.spec import CameraSpec, FeatureSpec, PolicySpec, RobotSpec
from fleetloop.learner.arrival import Prepared

WARM_UP = 10  # batches
EPISODE = 200  # frames
HORIZON = 16
STATE = FeatureSpec("position", (14,))
ACTION = FeatureSpec("action", (14,))
Batches = Callable[[], Any]


def policy_spec(cameras: int, px: int) -> PolicySpec:
    eyes = tuple(CameraSpec(f"camera_{one}", px, px) for one in range(cameras))
    return PolicySpec((STATE,), ACTION, HORIZON, 4, 20.0, cameras=eyes)


def sealed(cameras: int, px: int) -> bytes:
    """An episode of EPISODE frames; its pictures are smooth with some noise, as a camera's are."""
    eyes = tuple(CameraSpec(f"camera_{one}", px, px) for one in range(cameras))
    robot = RobotSpec("bench", (STATE,), ACTION, 20.0, cameras=eyes)
    rng = np.random.default_rng(0)
    ending = Ending(Outcome.SUCCESS, Judge.SIMULATOR)
    id = new_id(1e9, rng)
    meta = EpisodeMeta(id, "bench", "r", "s", "t", "do it", "demonstration", robot, ending=ending)
    values: dict[str, Any] = {"tick": np.arange(EPISODE), "clock_s": np.arange(EPISODE) / 20.0}
    for camera in eyes:
        values[f"image.{camera.name}"] = [jpeg(px, rng) for _ in range(EPISODE)]
    schema = schema_of(meta)
    arrays = []
    for field in schema:
        if pa.types.is_fixed_size_list(field.type):
            flat = pa.array(rng.normal(size=EPISODE * field.type.list_size).astype(np.float32))
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
        else:
            arrays.append(pa.array(values.get(field.name, np.zeros(EPISODE)), field.type))
    return seal_bytes([pa.RecordBatch.from_arrays(arrays, schema=schema)], meta)


def jpeg(px: int, rng: np.random.Generator) -> bytes:
    smooth = np.add.outer(np.arange(px), np.arange(px))[..., None] * rng.integers(1, 4, 3) * 255 // (6 * px)
    noisy = np.clip(smooth + rng.normal(0, 4, (px, px, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=90)
    return file.getvalue()


def everything() -> FrameLabels:
    return FrameLabels(
        train=np.ones(EPISODE, bool),
        stop=np.full(EPISODE, EPISODE, np.int32),
        weight=np.ones(EPISODE, np.float32),
        indicator=np.full(EPISODE, -1, np.int8),
    )


def decoded(frames: int, cameras: int, px: int) -> Iterator[Prepared]:
    """Demonstrations of one task whose every frame trains, with pictures that nobody has to decode."""
    template = Episode.from_bytes(sealed(0, 0))
    rng = np.random.default_rng(0)
    labels = everything()
    for number in range(frames // EPISODE):
        seen = {f"camera_{one}": rng.integers(0, 255, (EPISODE, px, px, 3), np.uint8) for one in range(cameras)}
        meta = replace(template.meta, id=new_id(1e9 + number, rng))
        yield Prepared(Episode(template._batch, meta), labels, seen)


def samples_per_s(
    ways: Mapping[str, Batches], batch: int, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Samples a second of `clock` by the median batch; the ways take turns, batch by batch, for so long."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(spent[next(iter(ways))]) < WARM_UP + 5:
        for name, sample in ways.items():
            spent[name].append(timed(sample, clock))
    return {name: batch / median(times[WARM_UP:]) for name, times in spent.items()}


def timed(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    work()
    return clock() - started
