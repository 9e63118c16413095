"""A small fleet under a virtual clock, and everything that can go wrong with it, decided by one seed.

Two robots with their courier on one host, a hub on a second, a learner on a third: the real code of each, advanced by
one event queue. Calls to the hub are lost, answered in vain, repeated late, or bring other bytes; threads take turns
in any order; disks refuse; processes end at any step or at any call to the disk and come back; hosts lose power. After
a while all faults end, and what holds then must be what was promised.
"""

import random
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faulty_disk import Crash, FaultyDisk, Platters
from faulty_line import CALM, HubProcess, Line, Odds
from faulty_parts import (
    TASK,
    Acting,
    CourierProcess,
    Host,
    LearnerProcess,
    Part,
    Process,
    RobotProcess,
    weights_hash,
)
from faulty_promises import check

from fleetloop.core.episode import Ending
from fleetloop.core.errors import DiskTrouble, HubRefused, HubUnavailable
from fleetloop.hub.options import HubOptions, RetentionOptions
from fleetloop.hub.retention import excess
from fleetloop.hub.service import HubService
from fleetloop.lab.agenda import Agenda
from fleetloop.lab.fleet import repeatable
from fleetloop.lab.host import VirtualHost
from fleetloop.learner.assemble import Surroundings
from fleetloop.learner.errors import CheckpointInvalid

FAULTY_S, PATIENCE_S, RESTART_S = 12.0, 60.0, 1.5
RETENTION = RetentionOptions(max_episodes=4, kinds=("autonomous", "correction"), every_s=0.5, grace_wall_s=0.5)


class World:
    """One run: `World(seed, directory).run()` raises AssertionError if a promise was broken.

    Attributes:
        finished: by episode, the frames and the ending of what robots had brought to its end durably.
        acknowledged: what a courier was told that the hub has.
        offered: the hashes of the weights that the learner wished to publish.
        log: what happened, a line each.
        disk_kind, hub_kind: what a test may put a worse one in place of.
    """

    disk_kind: type[FaultyDisk] = FaultyDisk
    hub_kind: type[HubProcess] = HubProcess

    disk_kind = FaultyDisk

    def __init__(self, seed: int, directory: Path) -> None:
        repeatable()
        self.finished: dict[str, tuple[int, Ending]] = {}
        self.acknowledged: set[str] = set()
        self.log: list[str] = []
        self.agenda, self.rng = Agenda(), random.Random(seed)
        self.odds = Odds()
        self._running: list[Part] = []
        self.offered: set[str] = set()
        self.directory = directory
        robots, hub, learner = (self._host(name) for name in ("robots", "hub", "learner"))
        self._mail = VirtualHost(robots.directory, FaultyDisk(robots.platters, lambda: None))
        self.hub = self._part("hub", hub, self._start_hub)
        for name in ("robot-1", "robot-2"):
            self._part(name, robots, self._start_robot)
        self._part("courier", robots, self._start_courier)
        self.learner = self._part("learner", learner, self._start_learner)
        self.hosts = (robots, hub, learner)

    # ------------------------------------------------------------------ the run

    def run(self) -> None:
        """Faults for a while, then none until all is quiet. Raises AssertionError naming what was broken."""
        for host in self.hosts:
            for part in host.parts:
                self._revive_at(0.0, part)
        self.agenda.run(FAULTY_S)
        self.odds = CALM
        for part in self.hosts[0].parts:
            if part.name.startswith("robot"):
                self._end(part)
        until = FAULTY_S + PATIENCE_S
        while not self._quiet():
            assert self.agenda.clock.now() < until, f"never came to rest: {self._unrest()}"
            self.agenda.run(self.agenda.clock.now() + 1.0)
        check(self)

    def _quiet(self) -> bool:
        return not self._unrest()

    def _unrest(self) -> str:
        hub, learner = self.hub.process, self.learner.process
        if hub is None or learner is None:
            return "somebody is down"
        waiting = [path.name for path in self._mail.spool.iterdir() if path.is_file()]
        if waiting:
            return f"in the spool: {waiting}"
        with hub.service._catalog.reading() as records:
            if too_many := excess(records, RETENTION, self.agenda.clock.now(), 1):
                return f"beyond the cap: {too_many}"
        newest = max((event.seq for event in self.events()), default=0)
        if learner.learner.cursor < newest:
            return f"the learner is at {learner.learner.cursor} of {newest}"
        return ""

    def acting(self, release: Any, weights: Any) -> Acting:
        """What a robot loads; only ever what the learner made."""
        found = weights_hash(weights)
        assert found == release.result_hash, f"release {release.version} runs with other weights than it names"
        assert found in self.offered, f"release {release.version} runs weights that no learner made"
        return Acting()

    def finished_one(self, id: str, frames: int, ending: Ending) -> None:
        self.finished[id] = (frames, ending)

    def events(self) -> list[Any]:
        return list(self.hub.process.service.events(0, limit=10_000))

    # ------------------------------------------------------------------ processes

    def _host(self, name: str) -> Host:
        directory = self.directory / name
        directory.mkdir()
        return Host(name, directory, Platters(self.rng))

    def _part(self, name: str, host: Host, start: Callable[[Part, float], Process]) -> Part:
        part = Part(name, host, start)
        host.parts.append(part)
        return part

    def _revive_at(self, at: float, part: Part) -> None:
        life = part.life
        self.agenda.at(at, lambda now: self._revive(part, now) if part.life == life else None)

    def _revive(self, part: Part, now: float) -> None:
        """Start a process; it may end again at once. Robots have done their work when the faults end."""
        if part.name.startswith("robot") and now >= FAULTY_S:
            return
        part.life += 1
        life = part.life
        with self._as(part) as survived:
            part.process = part.start(part, now)
        if survived():
            for number in range(len(part.process.threads)):
                self._again(part, life, number, 0.05 * self.rng.random())

    def _again(self, part: Part, life: int, number: int, pause: float) -> None:
        def step(now: float) -> None:
            if part.life != life or part.process is None:
                return
            pause = 0.0
            with self._as(part) as survived:
                self._hazard(self.odds.crash_at_step)
                pause = part.process.threads[number](now)
            if survived():
                # Now and then a thread is left waiting, so that others overtake it.
                late = self.rng.random() * (0.5 if self.rng.random() < 0.1 else 0.01)
                self._again(part, life, number, pause + late)

        self.agenda.at(self.agenda.clock.now() + pause, step)

    def _later(self, part: Part, pause: float, call: Callable[[], Any]) -> None:
        life = part.life

        def do(now: float) -> None:
            if part.life == life:
                with self._as(part):
                    call()

        self.agenda.at(self.agenda.clock.now() + pause, do)

    @contextmanager
    def _as(self, part: Part) -> Any:
        """Run what belongs to a part; its process ends by a crash, or by an error that it dies of in life too."""
        survived = True
        self._running.append(part)
        try:
            yield lambda: survived
        except Crash:
            survived = False
            self._die(part, "crashed")
        except CheckpointInvalid as error:
            raise AssertionError(f"a restart found its experience changed: {error}") from error
        except (DiskTrouble, HubRefused) as error:
            survived = False
            self._die(part, f"stopped: {error}")
        finally:
            self._running.pop()

    def _die(self, part: Part, why: str) -> None:
        cut = self.rng.random() < self.odds.power
        fallen = part.host.parts if cut else [part]
        self.tell(f"{part.name} {why}" + (f"; {part.host.name} lose power" if cut else ""))
        for one in fallen:
            self._end(one)
            self._revive_at(self.agenda.clock.now() + RESTART_S * self.rng.random(), one)
        if cut:
            part.host.platters.lose_power()

    def _end(self, part: Part) -> None:
        """As kill -9 does: its locks are free, and nothing of it runs any more."""
        part.life += 1
        if part.disk is not None:
            part.disk.drop()
        if part.name == "hub" and part.process is not None:
            part.process.service.close()
        part.process = None

    def _hazard(self, odds: float) -> None:
        if self.rng.random() < odds:
            raise Crash

    def _disk(self, part: Part) -> FaultyDisk:
        """The disk as one process of a part sees it: a dead one sees it no more."""
        life = part.life

        def hazard() -> None:
            if part.life != life:
                raise Crash
            self._hazard(self.odds.crash_at_disk)
            if self.rng.random() < self.odds.disk_refuses:
                raise DiskTrouble(part.host.name, "the disk is full")

        part.disk = self.disk_kind(part.host.platters, hazard)
        return part.disk

    def tell(self, line: str) -> None:
        self.log.append(f"{self.agenda.clock.now():7.3f} {line}")

    # ------------------------------------------------------------------ how each starts

    def _start_hub(self, part: Part, now: float) -> HubProcess:
        options = HubOptions(directory=part.host.directory, learner_lease_s=3.0, retention=RETENTION)
        service = HubService.open(options, self.agenda.clock, self._disk(part), (TASK.id,))
        return self.hub_kind(service, lambda pause, call: self._later(part, pause, call))

    def _start_robot(self, part: Part, now: float) -> RobotProcess:
        return RobotProcess(part.name, self._mail, self._disk(part), now, self)

    def _start_courier(self, part: Part, now: float) -> CourierProcess:
        self._mail._disk = disk = self._disk(part)
        return CourierProcess(self._mail, disk, Line(self), self.agenda.clock, self.rng.randrange(1 << 30))

    def _start_learner(self, part: Part, now: float) -> LearnerProcess:
        around = Surroundings(Line(self), self.agenda.clock, self._disk(part), part.host.directory)
        return LearnerProcess(around, self.rng.randrange(1 << 30))

    def serve(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call, by the hub, which may die of it before or after the deed."""
        if self.hub.process is None:
            raise HubUnavailable("hub", "is down")
        answer, refusal = None, None
        with self._as(self.hub) as survived:
            try:
                self._hazard(self.odds.crash_at_step)
                answer = self.hub.process.serve(name, args, kwargs)
            except HubRefused as error:
                refusal = error
            self._hazard(self.odds.crash_at_step)
        if not survived() or self.hub.process is None:
            raise HubUnavailable("hub", "hung up")
        if refusal is not None:
            raise refusal
        return answer
