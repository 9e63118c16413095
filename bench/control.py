"""Real time: does an actor miss ticks that an empty loop beside it does not miss?

Real processes on the real clock: a hub, a courier and an actor with a simulated robot and three cameras, which drives
episode after episode; a new release every few seconds, and a neighbour on the same host that records large episodes
for the courier to upload. What the cameras show was made before: rendering is no part of a real robot. Beside them a
loop with the same period that does nothing. Lateness is how long after its deadline a tick began; a tick is missed
where the one before ended so late that its own time was over. On a busy machine `--priority` lets both, the actor and
the empty loop, run before all others.
"""

import json
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetloop.actor.options import ActorOptions
from fleetloop.actor.plan import Assignment
from fleetloop.actor.run import run_actor
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubUnavailable
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.host import HostDirectory
from fleetloop.core.robot import EpisodeStart, Robot
from fleetloop.core.spec import RobotSpec
from fleetloop.core.task import Task
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.run import run_courier
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import serve
from fleetloop.judges.simulator import SimulatorJudge
from fleetloop.operators.absent import AbsentOperator
from fleetloop.policies.flow import FlowPolicy
from fleetloop.sim.robot import SimRobot, sim_spec
from fleetloop.sim.tasks import sim_task
from shared.report import arguments, show, write
from shared.traffic import Traffic

Ticks = npt.NDArray[np.float64]
"""(n, 2): when each tick began and how late that was, in seconds."""

RUN, TASK, HOST = "bench", "restock/shelf", "host-1"
EPISODE_S, RESET_S = 3.0, 0.5  # short, so that there are many swaps
START_LIMIT_S = 60.0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Plan:
    """One run of the bench; times in real seconds."""

    root: Path
    port: int
    hz: float
    px: int
    seconds: float
    publish_every: float
    upload_every: float
    priority: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


# ---------------------------------------------------------------------- the processes


class Probe:
    """A clock that notes how late every waking was, and the robot's wrapper that keeps those of the ticks driven."""

    name = "wall"

    def __init__(self) -> None:
        self._wall, self._late_s = Wall(), 0.0
        self.ticks: list[tuple[float, float]] = []

    def now(self) -> float:
        return self._wall.now()

    def wall(self) -> float:
        return self._wall.wall()

    def sleep_until(self, deadline: float) -> None:
        self._wall.sleep_until(deadline)
        self._late_s = self._wall.now() - deadline

    def tick(self) -> None:
        self.ticks.append((self._wall.now(), self._late_s))


class ProbedRobot:
    """A robot at another rate and with cameras of `px` pixels, whose every tick is noted."""

    def __init__(self, robot: Robot, hz: float, px: int, probe: Probe) -> None:
        self.spec = replace(robot.spec, control_hz=hz, cameras=sim_spec(px).cameras)
        self._robot, self._probe = robot, probe
        self._images = [_images(self.spec, seed) for seed in range(8)]
        self._shown = 0

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        return self._robot.reset(task, seed)

    def observe(self) -> Observation:
        seen, images = self._robot.observe(), self._images[self._shown % len(self._images)]
        self._shown += 1
        return replace(seen, images=images, images_taken=dict.fromkeys(images, seen.taken))

    def act(self, action: FloatArray) -> FloatArray:
        self._probe.tick()
        return self._robot.act(action)

    def close(self) -> None:
        self._robot.close()


def _images(spec: RobotSpec, seed: int) -> dict[str, npt.NDArray[np.uint8]]:
    """Smooth with some noise: about as large as real ones when they are compressed."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 240, spec.cameras[0].width)[None, :, None]
    shapes = {camera.name: (camera.height, camera.width, 3) for camera in spec.cameras}
    return {name: (ramp + rng.integers(0, 15, shape)).astype(np.uint8) for name, shape in shapes.items()}


def serve_hub(plan: Plan) -> None:
    serve(HubOptions(directory=plan.root / "hub", port=plan.port), Wall(), tasks=[TASK])


def carry(plan: Plan) -> None:
    disk = RealDisk()
    host = HostDirectory(plan.root / "host", disk)
    run_courier(host, HttpHub(plan.url), disk=disk, clock=Wall(), options=CourierOptions())


def drive(plan: Plan) -> None:
    _hurry(plan.priority)
    probe, disk = Probe(), RealDisk()
    simulated = SimRobot(probe, site=1, reset_s=RESET_S)
    task = replace(sim_task(TASK).task, time_limit_s=EPISODE_S)
    run_actor(
        Assignment(RUN, "robot-1", HOST, "site-1", (task,)),
        ProbedRobot(simulated, plan.hz, plan.px, probe),
        AbsentOperator(),
        SimulatorJudge(None, simulated),
        host=HostDirectory(plan.root / "host", disk),
        disk=disk,
        clock=probe,
        load_policy=lambda release, weights: FlowPolicy.acting(
            release.policy["config"], release.policy_spec(), weights
        ),
        options=ActorOptions(wait_s=0.1),
    )
    (plan.root / "actor.json").write_text(json.dumps(probe.ticks))


def _hurry(priority: int) -> None:
    if priority:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))


def idle(plan: Plan) -> None:
    """The empty loop: what the machine itself makes late."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    _hurry(plan.priority)
    wall, ticks = Wall(), []
    began, tick = wall.now(), 0
    while not stopped:
        deadline = began + tick / plan.hz
        wall.sleep_until(deadline)
        now = wall.now()
        ticks.append((now, now - deadline))
        tick += 1 + int((now - deadline) * plan.hz)
    (plan.root / "empty.json").write_text(json.dumps(ticks))


# ---------------------------------------------------------------------- the bench


def measure(plan: Plan) -> dict[str, Any]:
    os.environ.update(ONE_THREAD)  # heeded by the processes started now
    context = multiprocessing.get_context("spawn")
    works: Sequence[Callable[[Plan], None]] = (serve_hub, carry, idle, drive)
    hub, *others = [context.Process(target=work, args=(plan,), name=work.__name__) for work in works]
    hub.start()
    reached = HttpHub(plan.url)
    _until("the hub", lambda: _answers(reached))
    for process in others:
        process.start()
    traffic = Traffic(plan.url, plan.root / "host", RUN, TASK, plan.hz)
    traffic.publish()
    try:
        _until("the first episode", lambda: any(row["robot"] == "robot-1" for row in reached.episodes()))
        began = time.monotonic()
        traffic.run(began + plan.seconds, plan.publish_every, plan.upload_every)
        ended = time.monotonic()
        _stop(reversed(others))  # actor, empty loop, then the courier, which uploads what is left
        rows = reached.episodes()
    finally:
        _stop([*others, hub])
    actor, empty = (_within(plan.root / f"{name}.json", began, ended) for name in ("actor", "empty"))
    return {
        "hz": plan.hz,
        "seconds": ended - began,
        "actor": _summary(actor, plan.hz),
        "empty": _summary(empty, plan.hz),
        "missed_by_the_actor_alone": _alone(actor, empty, plan.hz),
        "episodes_driven": sum(row["robot"] == "robot-1" for row in rows),
        "releases_run": len({row["release_max"] for row in rows if row["robot"] == "robot-1"}),
        "releases_published": traffic.published,
        "megabytes_uploaded": sum(row["bytes"] for row in rows) / 1e6,
        "load_average": os.getloadavg()[0],
    }


def _answers(hub: HttpHub) -> bool:
    try:
        hub.fleet()
    except HubUnavailable:
        return False
    return True


def _until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {START_LIMIT_S:.0f} s")
        time.sleep(0.05)


def _stop(processes: Any) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
            process.join(30)


def _within(path: Path, began: float, ended: float) -> Ticks:
    """Those of the measured time."""
    ticks = np.array(json.loads(path.read_text()), np.float64).reshape(-1, 2)
    return ticks[(ticks[:, 0] >= began) & (ticks[:, 0] < ended)]


def _missed(ticks: Ticks, hz: float) -> Any:
    return (ticks[:, 1] * hz + 1e-6).astype(int)


def _summary(ticks: Ticks, hz: float) -> dict[str, Any]:
    p50, p99, p999 = np.percentile(ticks[:, 1] * 1e3, [50, 99, 99.9])
    worst = float(ticks[:, 1].max() * 1e3)
    missed = int(_missed(ticks, hz).sum())
    return {
        "ticks": len(ticks),
        "missed": missed,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "p99.9_ms": float(p999),
        "worst_ms": worst,
    }


def _alone(actor: Ticks, empty: Ticks, hz: float) -> int:
    """Ticks that the actor missed while the empty loop, within one tick of it, missed none."""
    excuses = empty[_missed(empty, hz) > 0, 0]
    misses = _missed(actor, hz)
    return int(
        sum(misses[index] for index in np.flatnonzero(misses) if not (abs(excuses - actor[index, 0]) <= 1 / hz).any())
    )


def main() -> None:
    parser = arguments(__doc__ or "", seconds=20.0, hz=30.0, px=224, publish_every=4.0, upload_every=2.0, priority=0)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        root, port = Path(directory), free.getsockname()[1]
        plan = Plan(root, port, said.hz, said.px, said.seconds, said.publish_every, said.upload_every, said.priority)
        free.close()
        figures = measure(plan)
    show(
        f"lateness of ticks at {plan.hz:g} Hz, three cameras of {plan.px} px, {figures['seconds']:.0f} s (real clock)",
        [{"loop": name, **figures[name]} for name in ("actor", "empty")],
    )
    print(
        f"missed by the actor alone: {figures['missed_by_the_actor_alone']}; meanwhile "
        f"{figures['episodes_driven']} episodes driven, {figures['releases_published']} releases published, "
        f"{figures['releases_run']} run, {figures['megabytes_uploaded']:.0f} MB uploaded; "
        f"load average {figures['load_average']:.1f}"
    )
    write(said.report, figures)


if __name__ == "__main__":
    main()
