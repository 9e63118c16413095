"""What recording costs: the control loop's side on the real clock, and the thread's, per frame and per episode.

First a control loop at `--hz` that hands every frame to a recorder whose thread works beside it, as in an actor, and in
turns with it, in the same process, the same loop with an empty call in its place. `late` is how long after its deadline
a tick began (the recorder's thread may hold the interpreter then), `call` is the handing over; `cost` is the
difference of both together from the empty loop's at the same percentile.

Then the thread alone: it compresses images, collects frames and writes them every `flush` frames. `finish` writes the
ending and forces the file onto the disk (the next episode waits for it), and `seal` is the courier's rewriting; both
are milliseconds per episode.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fleetloop.actor.options import ActorOptions, RecorderOptions
from fleetloop.actor.recorder import Recorder
from fleetloop.actor.run import SWITCH_INTERVAL_S
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Wall
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


def felt(px: int, hz: float, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """What a control loop feels of the recorder, and of nothing."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    ticks: dict[str, list[tuple[float, float]]] = {"empty": [], "recorder": []}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            ticks["empty"] += _loop(lambda frame: True, px, hz, seconds)
            with _recording(Path(directory), px) as recorder:
                ticks["recorder"] += _loop(recorder.add, px, hz, seconds)
    together = {
        name: np.percentile([1e3 * (late + call) for late, call in rows], [50, 99]) for name, rows in ticks.items()
    }
    return [
        {
            "call": name,
            "ticks": len(rows),
            **_spread("late", [late for late, _ in rows]),
            **_spread("call", [call for _, call in rows]),
            "cost_p50_ms": together[name][0] - together["empty"][0],
            "cost_p99_ms": together[name][1] - together["empty"][1],
        }
        for name, rows in ticks.items()
    ]


def _loop(call: Callable[[Frame], bool], px: int, hz: float, seconds: float) -> list[tuple[float, float]]:
    spec, rng, wall = sim_spec(px), np.random.default_rng(0), Wall()
    shown = [_frame(spec, tick, rng) for tick in range(8)]
    began, ticks = wall.now(), []
    for tick in range(int(seconds * hz)):
        deadline = began + tick / hz
        frame = replace(shown[tick % len(shown)], tick=tick)
        wall.sleep_until(deadline)
        woken = wall.now()
        call(frame)
        ticks.append((woken - deadline, wall.now() - woken))
    return ticks


@contextmanager
def _recording(directory: Path, px: int) -> Iterator[Recorder]:
    """A recorder in the middle of an episode, with its thread."""
    recorder, ended, wall = Recorder(RealDisk(), directory, RecorderOptions(), Alarms()), threading.Event(), Wall()

    def keep() -> None:
        while not ended.is_set():
            recorder.step(wall.now())
            ended.wait(ActorOptions().record_wall_s)

    thread = threading.Thread(target=keep)
    recorder.begin(_meta(sim_spec(px)))
    thread.start()
    try:
        yield recorder
    finally:
        ended.set()
        thread.join()
        recorder.end(Ending(Outcome.SUCCESS, Judge.SIMULATOR))
        recorder.step(wall.now())


def _spread(name: str, seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return {f"{name}_p50_ms": float(p50), f"{name}_p99_ms": float(p99)}


def measure(px: int, frames: int) -> dict[str, Any]:
    """One episode of `frames` frames with three cameras of `px` pixels, or none."""
    spec, rng, disk = sim_spec(px), np.random.default_rng(0), RealDisk()
    meta = _meta(spec)
    shown = [_frame(spec, tick, rng) for tick in range(frames)]
    thread = []
    with tempfile.TemporaryDirectory() as directory:
        recorder = Recorder(disk, Path(directory), RecorderOptions(), Alarms())
        recorder.begin(meta)
        recorder.step(0.0)
        for tick, frame in enumerate(shown):
            recorder.add(frame)
            thread.append(_spent(lambda tick=tick: recorder.step(tick / HZ), time.thread_time))
        recorder.end(Ending(Outcome.SUCCESS, Judge.SIMULATOR))
        finish = _spent(lambda: recorder.step(frames / HZ), time.perf_counter)
        partial = Path(directory) / f"{meta.id}{PARTIAL}"
        size = partial.stat().st_size
        sealing = _spent(lambda: seal(disk, partial), time.perf_counter)
    return {
        "cameras": f"3 x {px} px" if px else "none",
        "cpu_us_per_frame": 1e6 * float(np.mean(thread)),
        "finish_ms": 1e3 * finish,
        "seal_ms": 1e3 * sealing,
        "kB_per_frame": size / frames / 1e3,
    }


def _meta(spec: RobotSpec) -> EpisodeMeta:
    id = new_id(time.time(), np.random.default_rng())
    return EpisodeMeta(id, "bench", "robot", "site-0", "restock/shelf", "", "online", spec)


def _spent(work: Any, clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started


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
    said = arguments(__doc__ or "", frames=140, hz=30.0, px=224, seconds=5.0, rounds=3).parse_args()
    loops = felt(said.px, said.hz, said.seconds, said.rounds)
    load = os.getloadavg()[0]
    show(f"at {said.hz:g} Hz with three cameras of {said.px} px (load average {load:.1f})", loops)
    rows = [measure(px, said.frames) for px in (0, 96, 224)]
    show(f"recording an episode of {said.frames} frames", rows)
    write(said.report, {"loops": loops, "load_average": load, "frames": said.frames, "rows": rows})


if __name__ == "__main__":
    main()
