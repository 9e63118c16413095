"""A thousand robots at one hub: how soon is an episode acknowledged, is anything lost, and what does the hub take?

Each robot is a courier of its own, as a client in this one process: a request that waits for a release, beats as often
as the hub asks for them, and an episode every so many seconds, at a moment of its own. A learner waits for events. Now
and then a release is published, which all of them fetch. The hub is a real process on the real clock, on loopback.

`lost` are episodes that were acknowledged and are not among the hub's events; `twice` are those that are there twice.
Beside them, in the same run: how long a copy with fsync takes on the hub's disk, and how late this bench is woken.
"""

import asyncio
import json
import math
import multiprocessing
import os
import resource
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.hub import LearnerLease, Registration
from fleetloop.courier.options import CourierOptions
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import serve
from shared.line import Line, Refused
from shared.report import arguments, show, write
from shared.stamp import SPEC, TASK, Stamp, release

COURIER = CourierOptions()
FILES = 20_000  # open at once: three connections a robot
AGAIN_S = 1.0  # after an error
WARM_UP_S = 15.0  # until all are there and have the first release


@dataclass(frozen=True)
class Plan:
    """One run of the bench; times in real seconds."""

    port: int
    robots: int
    seconds: float
    every: float
    publish_every: float


@dataclass
class Tally:
    """What the robots saw: durations in seconds, and the ids of all episodes that were acknowledged."""

    acknowledged: set[str] = field(default_factory=set)
    uploads: list[float] = field(default_factory=list)
    beats: list[float] = field(default_factory=list)
    installs: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Robot:
    """A robot's courier. Each of its ways to the hub is a loop with a connection of its own."""

    def __init__(self, number: int, plan: Plan, stamp: Stamp, tally: Tally, rng: np.random.Generator) -> None:
        self.name, self._plan, self._stamp, self._tally = f"robot-{number:04d}", plan, stamp, tally
        self._phase, self._rng = float(rng.uniform(0, plan.every)), rng
        self._version = 0

    async def join(self) -> None:
        registration = Registration(self.name, self.name, "site-1", (TASK,), SPEC)
        line = self._line()
        await line.call("POST", "/v1/robots", json.dumps(wire.registration_to_json(registration)).encode())
        line.close()

    async def upload(self) -> None:
        line = self._line()
        due = time.monotonic() + self._phase
        while True:
            await asyncio.sleep(due - time.monotonic())
            due += self._plan.every
            id, data, hash = self._stamp.episode(self.name)
            began = time.monotonic()
            while not await self._call(line, "PUT", f"/v1/episodes/{id}", data, X_Fleetloop_Hash=hash):
                await asyncio.sleep(AGAIN_S)
            self._tally.acknowledged.add(id)
            self._tally.uploads.append(time.monotonic() - began)

    async def beat(self) -> None:
        line = self._line()
        await self._arrive()
        while True:
            status = {"robot": self.name, "phase": "running", "task": TASK, "release": self._version}
            began = time.monotonic()
            orders = await self._call(line, "POST", "/v1/beats", json.dumps([status]).encode())
            self._tally.beats.append(time.monotonic() - began)
            await asyncio.sleep(max(COURIER.beat_wall_s, orders[0]["beat_s"] if orders else 0.0))

    async def fetch(self) -> None:
        line = self._line()
        await self._arrive()
        while True:
            path = f"/v1/channels/stable?after={self._version}&wait={COURIER.poll_wall_s}"
            found = await self._call(line, "GET", path)
            manifest = found and found["release"]
            if not manifest:
                await asyncio.sleep(COURIER.scan_wall_s if found else AGAIN_S)
                continue
            for blob in manifest["encodings"][0]["blobs"]:  # of these releases there is no other
                await self._call(line, "GET", f"/v1/blobs/{blob['hash']}")
            self._tally.installs.append(time.monotonic() - manifest["clock_s"])
            self._version = manifest["version"]

    async def _arrive(self) -> None:
        """As couriers come back to a hub that was away."""
        await asyncio.sleep(self._rng.uniform(0, COURIER.retry_longest_wall_s))

    async def _call(self, line: Line, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """The answer; None after an error, which is counted."""
        try:
            return await line.call(method, path, body, **headers)
        except (OSError, EOFError, Refused) as error:
            self._tally.errors[f"{type(error).__name__}: {error}"] += 1
            return None

    def _line(self) -> Line:
        return Line("127.0.0.1", self._plan.port)


async def learn(plan: Plan) -> None:
    """Wait for events as a learner does."""
    line, cursor = Line("127.0.0.1", plan.port), 0
    while True:
        said = await line.call("GET", f"/v1/events?after={cursor}&wait=20")
        for event in said["events"]:
            cursor = event["seq"]


async def publish(plan: Plan) -> None:
    hub = HttpHub(f"http://127.0.0.1:{plan.port}")
    lease, version = await asyncio.to_thread(hub.claim_lease, "bench"), 0
    while True:
        await asyncio.to_thread(_publish, hub, lease, version)
        version += 1
        await asyncio.sleep(plan.publish_every)


def _publish(hub: HttpHub, lease: LearnerLease, version: int) -> None:
    hub.renew_lease(lease)
    manifest, blobs = release(version)
    for hash, data in blobs.items():
        hub.put_blob(hash, data)
    hub.publish(manifest, lease)


# ---------------------------------------------------------------------- the bench


async def measure(plan: Plan, hub: psutil.Process, directory: Path) -> dict[str, Any]:
    tally, stamp, rng = Tally(), Stamp(), np.random.default_rng(0)
    robots = [Robot(number, plan, stamp, tally, rng) for number in range(plan.robots)]
    for robot in robots:
        await robot.join()
    lateness, copies = list[float](), list[float]()
    works = [publish(plan), learn(plan), be_late(lateness), copy(directory / "copy", stamp.data, copies)]
    works += [way() for robot in robots for way in (robot.upload, robot.beat, robot.fetch)]
    loops = [asyncio.ensure_future(work) for work in works]
    await asyncio.sleep(WARM_UP_S)
    for figures in (tally.uploads, tally.beats, tally.installs, lateness, copies):
        figures.clear()
    began, hub_cpu, own_cpu, peak = time.monotonic(), _cpu(hub), time.process_time(), 0
    while time.monotonic() < began + plan.seconds:
        await asyncio.sleep(0.5)
        peak = max(peak, hub.memory_info().rss)
        for loop in loops:
            if loop.done():
                loop.result()  # raises what ended it
    spent = time.monotonic() - began
    hub_cpu, own_cpu = _cpu(hub) - hub_cpu, time.process_time() - own_cpu
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    stored = Counter(await asyncio.to_thread(_stored, plan))
    return {
        "episodes": {
            "acknowledged": len(tally.uploads),
            "MB_each": len(stamp.data) / 1e6,
            **_percentiles(tally.uploads),
            "errors": sum(tally.errors.values()),
            "lost": len(tally.acknowledged - stored.keys()),
            "twice": sum(count > 1 for count in stored.values()),
        },
        "beats": {"per_s": len(tally.beats) / spent, **_percentiles(tally.beats)},
        "releases": {"fetched": len(tally.installs), **_percentiles(tally.installs)},
        "hub": {
            "rss_MB": peak / 1e6,
            "cores": hub_cpu / spent,
            "ms_cpu_per_episode": 1e3 * hub_cpu / len(tally.uploads),
        },
        "copy with fsync": _percentiles(copies),
        "bench": {"cores": own_cpu / spent, "load_average": os.getloadavg()[0], **_percentiles(lateness)},
        "said": dict(tally.errors.most_common(5)),
    }


async def be_late(lateness: list[float]) -> None:
    """How late this process itself is woken: what the machine adds to every figure."""
    while True:
        due = time.monotonic() + 0.05
        await asyncio.sleep(0.05)
        lateness.append(time.monotonic() - due)


async def copy(directory: Path, data: bytes, copies: list[float]) -> None:
    """What a durable acknowledgement can't be quicker than, on the hub's disk and beside its own writing."""
    directory.mkdir()
    disk = RealDisk()
    while True:
        began = time.monotonic()
        await asyncio.to_thread(disk.write, directory / "episode", data)
        copies.append(time.monotonic() - began)
        await asyncio.sleep(0.5)


def _stored(plan: Plan) -> list[str]:
    hub, cursor, found = HttpHub(f"http://127.0.0.1:{plan.port}", timeout_s=60.0), 0, list[str]()
    while events := hub.events(cursor, limit=10_000):
        cursor = events[-1].seq
        found += [event.ref for event in events]
    return found


def _cpu(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def _percentiles(seconds: Iterable[float]) -> dict[str, float]:
    values = [*seconds] or [math.nan]
    p50, p99, worst = np.percentile(values, [50, 99, 100]) * 1e3
    return {"p50_ms": float(p50), "p99_ms": float(p99), "worst_ms": float(worst)}


def serve_hub(directory: Path, port: int, tell: Connection) -> None:
    serve(HubOptions(directory=directory, port=port), Wall(), tasks=[TASK], ready=tell.send)


def main() -> None:
    given = arguments(__doc__, robots=1000, seconds=120.0, every=30.0, publish_every=60.0).parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plan = Plan(port, given.robots, given.seconds, given.every, given.publish_every)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        here, there = context.Pipe()
        process = context.Process(target=serve_hub, args=(Path(directory) / "hub", port, there))
        process.start()
        try:
            here.recv()
            figures = asyncio.run(measure(plan, psutil.Process(process.pid), Path(directory)))
        finally:
            process.terminate()
            process.join()
    said = figures.pop("said")
    for name, row in figures.items():
        show(f"{name} ({plan.robots} robots, {plan.seconds:g} s)", [row])
    for line, count in said.items():
        print(f"{count} x {line}")
    write(given.report, figures)


if __name__ == "__main__":
    main()
