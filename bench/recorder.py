"""What recording costs: microseconds per frame in the control loop, per frame in the recorder's thread, per episode.

`loop` is what the control loop pays to hand a frame over. `thread` compresses images, collects frames and writes them
every `flush` frames. `finish` writes the ending and forces the file onto the disk (the next episode waits for it), and
`seal` is the courier's rewriting; both are milliseconds per episode.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from fleetloop.actor.options import RecorderOptions
from fleetloop.actor.recorder import Recorder
from fleetloop.core.alarm import Alarms
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import PARTIAL, seal
from fleetloop.core.spec import RobotSpec
from fleetloop.sim.robot import sim_spec
from shared.report import arguments, show, write

HZ = 20.0


def measure(px: int, frames: int) -> dict[str, Any]:
    """One episode of `frames` frames with three cameras of `px` pixels, or none."""
    spec, rng, disk = sim_spec(px), np.random.default_rng(0), RealDisk()
    meta = EpisodeMeta(new_id(time.time(), rng), "bench", "robot", "site-0", "restock/shelf", "", "online", spec)
    shown = [_frame(spec, tick, rng) for tick in range(frames)]
    loop, thread = [], []
    with tempfile.TemporaryDirectory() as directory:
        recorder = Recorder(disk, Path(directory), RecorderOptions(), Alarms())
        recorder.begin(meta)
        recorder.step(0.0)
        for tick, frame in enumerate(shown):
            loop.append(_spent(lambda frame=frame: recorder.add(frame)))
            thread.append(_spent(lambda tick=tick: recorder.step(tick / HZ)))
        recorder.end(Ending(Outcome.SUCCESS, Judge.SIMULATOR))
        finish = _spent(lambda: recorder.step(frames / HZ))
        partial = Path(directory) / f"{meta.id}{PARTIAL}"
        size = partial.stat().st_size
        sealing = _spent(lambda: seal(disk, partial))
    return {
        "cameras": f"3 x {px} px" if px else "none",
        "loop_us": 1e6 * float(np.mean(loop)),
        "loop_p99_us": 1e6 * float(np.percentile(loop, 99)),
        "thread_us": 1e6 * float(np.mean(thread)),
        "finish_ms": 1e3 * finish,
        "seal_ms": 1e3 * sealing,
        "kB_per_frame": size / frames / 1e3,
    }


def _spent(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _frame(spec: RobotSpec, tick: int, rng: np.random.Generator) -> Frame:
    """Images are smooth with some noise: about as large as real ones when they are compressed."""
    state = {item.name: rng.integers(0, 9, item.shape).astype(item.dtype) for item in spec.state}
    ramp = np.linspace(0, 255, spec.cameras[0].width)[None, :, None] if spec.cameras else np.zeros(0)
    images = {
        camera.name: (ramp + rng.integers(-9, 9, (camera.height, camera.width, 3))).clip(0, 255).astype(np.uint8)
        for camera in spec.cameras
    }
    action = np.zeros(spec.action.shape, np.float32)
    observation = Observation(state, tick / HZ, images, dict.fromkeys(images, tick / HZ))
    return Frame(tick, tick / HZ, tick / HZ, observation, action, action, Source.POLICY, 1, 0, 0)


def main() -> None:
    said = arguments(__doc__ or "", frames=140).parse_args()
    rows = [measure(px, said.frames) for px in (0, 96, 224)]
    show(f"recording an episode of {said.frames} frames", rows)
    write(said.report, {"frames": said.frames, "rows": rows})


if __name__ == "__main__":
    main()
