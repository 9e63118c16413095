"""What the hub's tests are made of: real episodes, real releases, a hub in this process, behind HTTP, or on its own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

import ml_dtypes
import numpy as np
import uvicorn
from bucket import Kept

from fleetloop.core.clock import Clock
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.hub import Hub, Registration, RobotStatus
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import Recording, Sealed, seal
from fleetloop.core.release import Release
from fleetloop.core.spec import FeatureSpec, PolicySpec, RobotSpec
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.http.face import Face
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService
from fleetloop.weights.codec import Encoded, encode
from manifests import manifest_of

HANDS = FeatureSpec("hands", (4,))
ACTION = FeatureSpec("hands", (2,), low=-1, high=1)
SPEC = RobotSpec("two-hands", (HANDS,), ACTION, control_hz=20)
POLICY = PolicySpec((HANDS,), ACTION, horizon=8, execute=4, control_hz=20)
TASKS = ("restock/shelf", "box/walls")
_rng = np.random.default_rng(0)


def fresh_id() -> str:
    return new_id(1.7e9, _rng)


def sealed(directory: Path, sources: str = "pppp", release: int = 1, start_s: float = 100.0, **meta: object) -> Sealed:
    """A sealed episode whose frames are by (p)olicy or (h)uman, a tick of 50 ms apart."""
    about = EpisodeMeta(
        id=fresh_id(),
        run="run-1",
        robot="robot-1",
        site="site-1",
        task="restock/shelf",
        instruction="put the can into the left slot",
        purpose="online",
        spec=SPEC,
    )
    recording = Recording(RealDisk(), directory, replace(about, **meta))  # type: ignore[arg-type]
    for tick, letter in enumerate(sources):
        observation = Observation({"hands": _rng.random(4, np.float32)}, taken=start_s)
        action = _rng.random(2, np.float32)
        source = Source.HUMAN if letter == "h" else Source.POLICY
        clock_s = start_s + tick / 20
        recording.add(Frame(tick, clock_s, 1.7e9, observation, action, action, source, release, tick // 8, tick % 8))
    recording.finish(Ending(Outcome.SUCCESS, Judge.SIMULATOR, ticks_missed=1))
    return seal(RealDisk(), recording.path)


def put(hub: Hub, episode: Sealed) -> int:
    return hub.put_episode(episode.meta.id, episode.path, episode.hash).seq


def manifest(seed: int = 1, **changes: object) -> tuple[Release, Encoded]:
    """An unpublished release and its blobs."""
    tensor = np.random.default_rng(seed).random((3, 2)).astype(ml_dtypes.bfloat16)
    encoded = encode({"head.weight": tensor})
    first = {"run": "run-1", "step": 25 * seed, "policy": {"name": "flow"}, "clock_s": 1.0}
    return manifest_of(encoded, POLICY, **(first | changes)), encoded


def put_blobs(hub: Hub, encoded: Encoded) -> None:
    for hash, data in encoded.blobs.items():
        hub.put_blob(hash, data)


def publish(hub: Hub, seed: int = 1, **changes: object) -> Release:
    release, encoded = manifest(seed, **changes)
    put_blobs(hub, encoded)
    return hub.publish(release, hub.claim_lease("learner"))


def registration(robot: str = "robot-1", spec: RobotSpec = SPEC) -> Registration:
    return Registration(robot, "host-1", "site-1", TASKS, spec)


def wants(robot: str, wanted: bool = True) -> RobotStatus:
    return RobotStatus(robot, "running", wants_attention=wanted, operator="shift")


@dataclass(frozen=True)
class World:
    """A hub to talk to, the clock that it goes by and the objects that it keeps."""

    hub: HubService | HttpHub
    clock: Clock
    kept: Kept
    service: HubService


@contextmanager
def in_process(options: HubOptions, clock: Clock) -> Iterator[World]:
    service = HubService.open(options, clock, RealDisk(), TASKS)
    try:
        yield World(service, clock, Kept(options), service)
    finally:
        service.close()


@contextmanager
def behind_http(options: HubOptions, clock: Clock) -> Iterator[World]:
    """The same service behind a real server and a real socket, in a thread of this process sharing its clock."""
    with in_process(options, clock) as world:
        config = uvicorn.Config(
            Face(world.service, options).app, port=0, log_level="critical", timeout_graceful_shutdown=1
        )
        server = _Announced(config)
        thread = Thread(target=server.run)
        thread.start()
        hub = HttpHub(server.url())
        try:
            yield replace(world, hub=hub)
        finally:
            hub.close()
            server.should_exit = True
            thread.join()


class _Announced(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._up = Event()

    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        self._up.set()

    def url(self) -> str:
        assert self._up.wait(20), "the server did not start"
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


def until(condition: Callable[[], bool], patience_s: float = 30.0) -> None:
    """Return as soon as `condition` holds; fail if it never does."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)


@dataclass(frozen=True)
class HubProcess:
    """A hub in a process of its own, on a free port."""

    process: subprocess.Popen[str]
    url: str

    @classmethod
    def start(cls, directory: Path, **options: object) -> "HubProcess":
        process = launch(directory, **options)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith(("http://", "https://")), f"the hub said {url!r}"
        return cls(process, url)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def launch(directory: Path, **options: object) -> "subprocess.Popen[str]":
    """Start `serve` in a new process: its first line on stdout is the URL, or the error's one line on stderr."""
    said = json.dumps({"directory": str(directory), "port": 0, **options})
    script = Path(__file__).with_name("serve_hub.py")
    return subprocess.Popen(
        [sys.executable, str(script), said], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
