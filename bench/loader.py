"""Samples a second into the learner, and what it takes to know of a million episodes.

`index`: episodes of synthetic metadata are taken into the index, without their payload.

`warm`: batches of random frames, decoded, drawn and gathered by the learner's own path; beside `np.take` of the same
rows into memory that is used again, which is the least that a batch of them costs, and TorchRL's memory-mapped buffer
(where it is installed) that holds the same columns. One thread each, by its CPU time, so that nothing else on the
machine counts; the median batch.

`cold`: an episode that is not at hand: every frame of it is decoded and made a row of, each time anew; beside Pillow
alone on the same pictures. Frames, of all cameras, a second.
"""

import io
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fleetloop.core.episode import Episode
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.learner.arrival import Prepared
from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.buffer.entry import Entry
from fleetloop.learner.buffer.samples import FACTS
from fleetloop.learner.loader import OnTime
from fleetloop.learner.options import SamplerOptions
from fleetloop.learner.sampler import AdaptiveSampler
from shared.pictures import EPISODE, HORIZON, Batches, decoded, everything, policy_spec, samples_per_s, sealed, timed
from shared.report import arguments, show, write

SETTINGS = ((1, 96), (3, 96), (1, 224), (3, 224))  # cameras, px
STATE_ALONE = (0, 0)


def main() -> None:
    given = arguments(__doc__ or "", episodes=1_000_000, samples=40, frames=20_000, batch=256, seconds=2.0).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        index = _index(Path(name), given.episodes, given.samples, given.batch)
    show(f"index: {given.episodes:,} episodes of {given.samples} samples", [index])
    warm = [_warm(cameras, px, given) for cameras, px in (STATE_ALONE, *SETTINGS)]
    show(f"warm: samples/s, {given.frames:,} frames, batches of {given.batch}", warm)
    cold = [_cold(cameras, px, given.seconds) for cameras, px in SETTINGS]
    show("cold: frames/s", cold)
    write(given.report, {"index": index, "warm": warm, "cold": cold})


# ---------------------------------------------------------------------- the index


def _index(place: Path, episodes: int, samples: int, batch: int) -> dict[str, float]:
    buffer = ExperienceBuffer(policy_spec(0, 0), max_replay=200, scratch=place)
    entries, before = _entries(samples), _anonymous_bytes()
    started, worked = time.perf_counter(), time.process_time()
    for number in range(episodes):
        buffer.index(replace(entries[number % len(entries)], id=f"{number:026d}"))
    took, worked = time.perf_counter() - started, time.process_time() - worked
    held = _anonymous_bytes() - before
    sampler = AdaptiveSampler(SamplerOptions(), 0)
    draws = [timed(partial(sampler.draw, buffer, step, batch)) for step in range(50)]
    return {
        "seconds": took,
        "cpu_seconds": worked,
        "bytes_per_episode": held / episodes,
        "memory_gb": held / 1e9,
        "mapped_gb": sum(path.stat().st_size for path in place.iterdir()) / 1e9,
        "ms_per_draw": 1e3 * median(draws),
    }


def _entries(samples: int) -> list[Entry]:
    """Templates: online and demonstrated episodes of seven tasks, each with a stretch of corrections."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(70):
        facts = np.zeros(samples, FACTS)
        facts["frame"] = np.arange(samples) + rng.integers(100)
        facts["release"], facts["targets"], facts["human"] = number, HORIZON, True
        facts["indicator"] = rng.integers(-1, 2, samples)
        found.append(
            Entry(
                id="",
                task=f"task/{number % 7}",
                purpose="demonstration" if number % 10 == 0 else "online",
                instruction=f"do task {number % 7}",
                site=f"site-{number % 5}",
                robot=f"robot-{number}",
                outcome=Outcome.SUCCESS if number % 3 else Outcome.FAILURE,
                judge=Judge.PERSON,
                quality=None,
                release=number,
                facts=facts,
                weight=np.ones(samples, np.float32),
            )
        )
    return found


def _anonymous_bytes() -> int:
    """Memory of this process that no file backs."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


# ---------------------------------------------------------------------- warm


def _warm(cameras: int, px: int, given: Any) -> dict[str, Any]:
    spec = policy_spec(cameras, px)
    with tempfile.TemporaryDirectory() as name:
        buffer = ExperienceBuffer(spec, max_replay=1 << 30, scratch=Path(name))
        for prepared in decoded(given.frames, cameras, px):
            buffer.ingest(prepared)
        sampler, loader, step = AdaptiveSampler(SamplerOptions(), 0), OnTime(buffer), iter(range(1 << 30))
        columns = {name: column.rows for name, column in buffer.payload.columns.items()}
        ways = {
            "fleetloop": lambda: loader.batch(sampler.draw(buffer, next(step), given.batch)),
            "np_take": _taking(columns, given.batch),
        }
        rates = samples_per_s(ways, given.batch, given.seconds, time.thread_time)
    with tempfile.TemporaryDirectory() as name, _torchrl(Path(name), given, cameras, px) as sample:
        rates |= samples_per_s({"torchrl": sample}, given.batch, given.seconds, time.thread_time) if sample else {}
    row: dict[str, Any] = {"cameras": cameras, "px": px, **rates}
    row["of_np_take"] = rates["fleetloop"] / rates["np_take"]
    row["of_torchrl"] = rates["fleetloop"] / rates["torchrl"] if "torchrl" in rates else "pip install -e '.[bench]'"
    return row


def _taking(columns: Mapping[str, npt.NDArray[Any]], batch: int) -> Batches:
    rng = np.random.default_rng(0)
    out = {name: np.empty((batch, *rows.shape[1:]), rows.dtype) for name, rows in columns.items()}

    def take() -> None:
        picked = rng.integers(len(columns["actions"]), size=batch)
        for name, rows in columns.items():
            rows.take(picked, axis=0, out=out[name], mode="clip")

    return take


@contextmanager
def _torchrl(place: Path, given: Any, cameras: int, px: int) -> Iterator[Batches | None]:
    """The same columns in TorchRL's memory-mapped buffer."""
    try:
        from tensordict import TensorDict  # noqa: PLC0415  optional
        from torchrl.data import LazyMemmapStorage, TensorDictReplayBuffer  # noqa: PLC0415
    except ImportError:
        yield None
        return
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    storage = LazyMemmapStorage(given.frames, scratch_dir=place)
    buffer = TensorDictReplayBuffer(storage=storage, batch_size=given.batch)
    for prepared in decoded(given.frames, cameras, px):
        ahead = np.minimum(np.arange(EPISODE)[:, None] + np.arange(HORIZON), EPISODE - 1)
        held = {"position": prepared.episode.state("position"), "actions": prepared.episode.action[ahead]}
        columns = {
            name: torch.from_numpy(np.array(values)) for name, values in {**held, **(prepared.seen or {})}.items()
        }
        buffer.extend(TensorDict(columns, batch_size=[EPISODE]))
    yield buffer.sample


# ---------------------------------------------------------------------- cold


def _cold(cameras: int, px: int, seconds: float) -> dict[str, Any]:
    """Episodes of EPISODE frames, of which none is kept; and PIL alone on the same pictures."""
    spec = policy_spec(cameras, px)
    episode = Episode.from_bytes(sealed(cameras, px))
    buffer = ExperienceBuffer(spec, max_replay=1 << 30, most_bytes=0, fetch=lambda id: episode)
    buffer.ingest(Prepared(episode, everything(), None))
    sampler, loader, step = AdaptiveSampler(SamplerOptions(), 0), OnTime(buffer), iter(range(1 << 30))

    def decode() -> None:
        for frame in range(EPISODE):
            for camera in spec.cameras:
                np.asarray(Image.open(io.BytesIO(episode.jpeg(camera.name, frame))).convert("RGB"))

    ways = {"fleetloop": lambda: loader.batch(sampler.draw(buffer, next(step), 1)), "pillow": decode}
    return {"cameras": cameras, "px": px, **samples_per_s(ways, EPISODE, seconds)}


if __name__ == "__main__":
    main()
