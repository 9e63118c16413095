"""A hub that collects releases, and robots that live through it."""

import copy
import errno
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
from hub_world import POLICY, TASKS, put_blobs, registration
from hypothesis import strategies as st

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk, disk_trouble
from fleetloop.core.errors import HubRefused, HubUnavailable
from fleetloop.core.hub import STABLE, RobotStatus
from fleetloop.core.release import Release
from fleetloop.hub.options import HubOptions, ReleasesOptions
from fleetloop.hub.rebuild import rebuild
from fleetloop.hub.service import HubService
from fleetloop.weights.ladder import SPANS, Ladder
from fleetloop.weights.route import Source, obtain
from fleetloop.weights.verified import Known
from manifests import manifest_of

KEEP = SPANS[-1]


class FailingDisk(RealDisk):
    """Refuses every change after so many."""

    left = 1 << 40

    def write(self, path: Path, data: bytes) -> None:
        self._spend(path)
        super().write(path, data)

    def remove(self, path: Path) -> None:
        self._spend(path)
        super().remove(path)

    def _spend(self, path: Path) -> None:
        self.left -= 1
        if self.left < 0:
            raise disk_trouble(path, OSError(errno.EIO, "Input/output error"))


@dataclass
class Robot:
    """A robot and the release on its disk; 0 for none."""

    name: str
    runs: int = 0


class Seen:
    """A hub that is asked for each thing once."""

    def __init__(self, hub: HubService) -> None:
        self.release, self.get_blob = cache(hub.release), cache(hub.get_blob)


class Fleet:
    """A hub, a learner and robots, as plain calls."""

    def __init__(self, root: Path, store: str = "", grace_wall_s: float = 1e-9) -> None:
        releases = ReleasesOptions(keep=KEEP, every_s=1, grace_wall_s=grace_wall_s)
        self.options = HubOptions(directory=root / "hub", store=store, releases=releases)
        self.clock, self.disk = Virtual(time.time() + 10), FailingDisk()
        self.ladder, self.published = Ladder(), dict[int, Known]()
        self.rng = np.random.default_rng(0)
        self.masters = self.rng.normal(0, 1, 2048).astype(np.float32)
        self.robots = [Robot(f"robot-{number}") for number in range(3)]
        self.open()

    def open(self) -> None:
        self.disk.left = 1 << 40
        self.hub = HubService.open(self.options, self.clock, self.disk, TASKS)
        for robot in self.robots:
            self.hub.register(registration(robot.name))

    def moved_to(self, root: Path, releases: ReleasesOptions | None = None) -> "Fleet":
        """A copy, to be changed without the original."""
        other = copy.copy(self)
        changes = {"directory": root / "hub", "releases": releases or self.options.releases}
        other.options = self.options.model_copy(update=changes)
        shutil.copytree(self.options.directory, other.options.directory)
        other.disk, other.ladder = FailingDisk(), copy.deepcopy(self.ladder)
        other.published, other.robots = dict(self.published), copy.deepcopy(self.robots)
        other.rng, other.masters = copy.deepcopy(self.rng), self.masters.copy()
        other.open()
        return other

    # ------------------------------------------------------------------ what may happen

    def publish(self) -> None:
        self.masters += self.rng.normal(0, 1e-4, self.masters.shape).astype(np.float32)
        weights = Known.of({"w": self.masters.astype(ml_dtypes.bfloat16)})
        newest = max(self.published, default=0)
        ways = self.ladder.encode(weights, newest + 1)
        for _, way in ways:
            put_blobs(self.hub, way)
        encodings = tuple(way.encoding(base) for base, way in ways)
        release = manifest_of(ways[0][1], POLICY, run="run-1", parent=newest, encodings=encodings)
        version = self.hub.publish(release, self.hub.claim_lease("learner")).version
        self.published[version] = weights
        self.ladder.keep(version, weights)

    def new_learner(self) -> None:
        self.ladder = Ladder()

    def fetch(self, robot: Robot) -> None:
        """What its orders say, or else stable's."""
        (orders,) = self.hub.beat([RobotStatus(robot.name, "running", release=robot.runs)])
        release = self.hub.release(orders.release) if orders.release else self.hub.channel(STABLE)
        assert release is not None
        self.reach(release, robot.runs)
        robot.runs = release.version
        self.hub.beat([RobotStatus(robot.name, "running", release=robot.runs)])

    def lose_disk(self, robot: Robot) -> None:
        robot.runs = 0

    def pin(self, robot: Robot, version: int) -> None:
        self.unless_collected(lambda: self.hub.pin(robot.name, version))

    def roll_back(self, version: int) -> None:
        self.unless_collected(lambda: self.hub.roll_back(version))

    def unless_collected(self, steer: Callable[[], object]) -> None:
        """The hub never sends robots to where they can't go."""
        try:
            steer()
        except HubRefused as error:
            if error.status not in (409, 410):
                raise

    def collect(self) -> None:
        self.clock.advance(5)
        assert self.options.releases.keep is not None
        while self.hub.collector.collect(self.options.releases.keep) + self.hub.collector.free():
            pass

    def collect_and_die(self, after: int) -> None:
        self.disk.left = after
        try:
            self.collect()
        except HubUnavailable:
            self.hub.close()
            self.open()
        self.disk.left = 1 << 40

    def restart(self) -> None:
        self.hub.close()
        self.open()

    def rebuild(self) -> None:
        self.hub.close()
        assert rebuild(self.options, self.clock, RealDisk()).damaged == ()
        self.open()

    # ------------------------------------------------------------------ what must hold

    def reach(self, release: Release, have: int, source: Source | None = None) -> None:
        got = obtain(release, source or self.hub, self.published.get(have), have)
        assert got.weights["w"].tobytes() == self.published[release.version].weights["w"].tobytes()

    def check(self) -> None:
        wanted = {self.hub.steering().release_for(robot.name) for robot in self.robots}
        wanted |= {self.hub.fleet().edge, self.hub.fleet().stable}
        source = Seen(self.hub)
        for version in wanted - {0}:
            for have in {0, *(robot.runs for robot in self.robots)}:
                self.reach(source.release(version), have, source)

    def collected(self) -> list[int]:
        return [release.version for release in reversed(self.hub.releases()) if release.collected_wall_s]


def play(fleet: Fleet, data: st.DataObject) -> None:
    acts: dict[str, Callable[[], None]] = {
        "publish": fleet.publish,
        "publish many": lambda: [fleet.publish() for _ in range(9)] and None,  # type: ignore[func-returns-value]
        "new learner": fleet.new_learner,
        "fetch": lambda: fleet.fetch(robot),
        "lose disk": lambda: fleet.lose_disk(robot),
        "pin": lambda: fleet.pin(robot, version),
        "unpin": lambda: fleet.pin(robot, 0),
        "roll back": lambda: fleet.roll_back(version),
        "resume": lambda: fleet.unless_collected(fleet.hub.resume),
        "collect": fleet.collect,
        "collect and die": lambda: fleet.collect_and_die(data.draw(st.integers(0, 40), "changes")),
        "restart": fleet.restart,
        "rebuild": fleet.rebuild,
    }
    for _ in range(data.draw(st.integers(3, 8), "acts")):
        robot = data.draw(st.sampled_from(fleet.robots), "robot")
        version = data.draw(st.integers(1, max(fleet.published)), "version")
        acts[data.draw(st.sampled_from(sorted(acts)), "act")]()
        fleet.check()
    fleet.hub.close()
