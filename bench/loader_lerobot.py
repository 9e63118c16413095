"""Samples a second into a learner: FleetLoop's buffer beside LeRobotDataset with a DataLoader, on the same pictures.

To be run in LeRobot's environment (`make test-lerobot` makes it): `.venv-lerobot/bin/python bench/loader_lerobot.py`.

One camera, random access over the whole dataset, one thread of torch a process. LeRobotDataset holds the pictures in
its image columns (PNG) or as video; its DataLoader works in the process itself (0 workers) or in so many. FleetLoop's
buffer decodes once, when an episode arrives; how long that takes is `loader.py`'s `cold`.
"""

import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.loader import OnTime
from fleetloop.learner.options import SamplerOptions
from fleetloop.learner.sampler import AdaptiveSampler
from shared.pictures import EPISODE, HORIZON, Batches, decoded, jpeg, policy_spec, samples_per_s
from shared.report import arguments, show, write

FPS = 20
PIXELS = (96, 224)
WORKERS = (0, 2)


def main() -> None:
    given = arguments(__doc__ or "", frames=2000, batch=64, seconds=20.0).parse_args()
    try:
        import lerobot  # noqa: F401, PLC0415  in an environment of its own
    except ImportError:
        print("LeRobot is not installed here: .ci/make-lerobot-venv .venv-lerobot")
        return
    torch.set_num_threads(1)
    rows = [row for px in PIXELS for row in _measured(px, given)]
    show(f"samples/s, {given.frames:,} frames of one camera, batches of {given.batch}", rows)
    write(given.report, {"rows": rows})


def _measured(px: int, given: Any) -> Iterator[dict[str, Any]]:
    spec = policy_spec(1, px)
    with tempfile.TemporaryDirectory() as name:
        buffer = ExperienceBuffer(spec, max_replay=1 << 30, scratch=Path(name))
        for prepared in decoded(given.frames, 1, px):
            buffer.ingest(prepared)
        sampler, loader, step = AdaptiveSampler(SamplerOptions(), 0), OnTime(buffer), iter(range(1 << 30))
        ways = {"fleetloop": lambda: loader.batch(sampler.draw(buffer, next(step), given.batch))}
        ours = samples_per_s(ways, given.batch, 2.0)["fleetloop"]
    for kind in ("image", "video"):
        with tempfile.TemporaryDirectory() as name:
            dataset = _written(Path(name) / "dataset", px, kind, given.frames)
            for workers in WORKERS:
                theirs = _overall(_batches(dataset, given.batch, workers), given.batch, given.seconds)
                row = {"px": px, "kind": kind, "workers": workers, "fleetloop": ours, "lerobot": theirs}
                yield {**row, "of_lerobot": ours / theirs}


def _overall(sample: Batches, batch: int, seconds: float) -> float:
    """Samples a second over all batches but the first few, since workers deliver in bursts."""
    for _ in range(3):
        sample()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        sample()
        count += batch
    return count / (time.perf_counter() - started)


def _written(root: Path, px: int, kind: str, frames: int) -> Any:
    """The dataset, opened anew, as a learner would: the actions of the whole horizon with every sample."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: PLC0415

    features = {
        "observation.images.camera": {"dtype": kind, "shape": (px, px, 3), "names": ["height", "width", "channel"]},
        "observation.state": {"dtype": "float32", "shape": (14,), "names": None},
        "action": {"dtype": "float32", "shape": (14,), "names": None},
    }
    made = LeRobotDataset.create("bench/loader", fps=FPS, features=features, root=root, use_videos=kind == "video")
    rng = np.random.default_rng(0)
    pictures = [np.asarray(Image.open(io.BytesIO(jpeg(px, rng)))) for _ in range(20)]
    for _ in range(frames // EPISODE):
        for frame in range(EPISODE):
            arms = rng.normal(size=(2, 14)).astype(np.float32)
            picture = {"observation.images.camera": pictures[frame % len(pictures)]}
            made.add_frame({**picture, "observation.state": arms[0], "action": arms[1], "task": "do it"})
        made.save_episode()
    made.finalize()
    ahead = {"action": [step / FPS for step in range(HORIZON)]}
    return LeRobotDataset("bench/loader", root=root, delta_timestamps=ahead)


def _batches(dataset: Any, batch: int, workers: int) -> Batches:
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    endless = (found for _ in iter(int, 1) for found in loader)
    return lambda: next(endless)


if __name__ == "__main__":
    main()
