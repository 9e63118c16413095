"""The middle of a demo: hub, learner, courier and actors as processes, for the agreed time, paced and watched."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fleetloop.cli.config import FleetConfig
from fleetloop.cli.demo.experience import Experience
from fleetloop.cli.demo.figures import Lived
from fleetloop.cli.demo.moment import Moment
from fleetloop.cli.demo.pacer import Pacer, Reading
from fleetloop.cli.demo.plan import DemoPlan
from fleetloop.cli.demo.processes import FleetProcesses
from fleetloop.cli.demo.view import View
from fleetloop.cli.wiring import open_hub
from fleetloop.core.clock import Clock, Scaled, Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import FleetLoopError, HubUnavailable
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Fleet, Hub
from fleetloop.lab.candidate import Candidate, from_release

START_FACTOR = 1.0  # until all robots run, so that the learner isn't far ahead of them
START_PATIENCE_S = 180.0  # real seconds
LOOK_EVERY_S = 0.5  # real seconds
MOST_RELEASES = 10_000


class FleetSlow(FleetLoopError):
    """Something did not happen in time."""


class DemoFleet:
    """One run of the fleet. Paces itself, shows itself, and leaves nothing running."""

    def __init__(self, plan: DemoPlan, config: FleetConfig, config_file: Path, view: View) -> None:
        self._plan, self._config, self._view = plan, config, view
        self._wall = Wall()
        file = config.clock.file
        self._clock: Clock = Wall() if file is None else Scaled.create(file, START_FACTOR)
        self._hub = open_hub(config)
        self._experience = Experience(self._hub)
        self._processes = FleetProcesses(config_file, plan.directory / "logs")
        self._began_s = 0.0
        self._time_scale = {"mean": 1.0, "low": 1.0, "high": 1.0}

    def run(self) -> tuple[Lived, Candidate]:
        """Returns what the fleet lived through, and its newest release.

        Raises:
            ProcessDied: naming the process and its log.
            FleetSlow: if the fleet does not come up.
        """
        robots = [robot.name for robot in self._config.robots]
        with self._processes:
            self._start(robots)
            self._work()
            self._processes.stop(*robots)
            self._processes.stop("learner")
            self._processes.stop("courier")
            self._experience.catch_up()
            lived = self._lived()
            newest = from_release(self._hub, lived.releases[0].version)
            self._processes.stop("hub")
        return lived, newest

    # ------------------------------------------------------------------ up

    def _start(self, robots: Sequence[str]) -> None:
        self._processes.start("hub", "hub")
        self._until(lambda fleet: True, "the hub does not answer", "hub")
        self._processes.start("courier", "courier")
        self._processes.start("learner", "learner")
        for robot in robots:
            self._processes.start(robot, "actor", "--robot", robot)
        self._until(lambda fleet: _running(fleet) == len(robots), "not all robots run", robots[0])

    def _until(self, condition: Callable[[Fleet], bool], complaint: str, log: str) -> None:
        deadline = self._wall.now() + START_PATIENCE_S
        while self._wall.now() < deadline:
            self._processes.check()
            if (fleet := _look(self._hub)) is not None and condition(fleet):
                return
            self._wall.sleep_until(self._wall.now() + 0.2)
        logs = self._plan.directory / "logs"
        raise FleetSlow("fleet", f"{complaint} after {START_PATIENCE_S:.0f} s", f"see {logs / log}.log")

    # ------------------------------------------------------------------ the agreed time

    def _work(self) -> None:
        began, began_wall = self._clock.now(), self._wall.now()
        self._began_s = began
        factors = [self._set_factor(self._plan.speed)]
        pacer = Pacer(factors[0], began_wall)
        seen = Counts()
        total = self._plan.minutes * 60
        with self._view.fleet() as screen:
            while (elapsed := self._clock.now() - began) < total:
                self._processes.check()
                if (fleet := self._catch_up()) is not None:
                    screen.show(Moment(self._plan.tasks, elapsed, total, factors[-1], fleet, self._experience.rows))
                    factors.append(self._set_factor(pacer.advise(seen.reading(fleet, self._wall.now()))))
                left = (total - (self._clock.now() - began)) / factors[-1]
                self._wall.sleep_until(self._wall.now() + min(LOOK_EVERY_S, left))
        mean = (self._clock.now() - began) / (self._wall.now() - began_wall)
        self._time_scale = {"mean": mean, "low": min(factors), "high": max(factors)}
        self._set_factor(START_FACTOR)

    def _set_factor(self, factor: float) -> float:
        """Where there is a factor to set; returns what is in force."""
        if not isinstance(self._clock, Scaled):
            return 1.0
        self._clock.set_factor(factor)
        return factor

    def _catch_up(self) -> Fleet | None:
        try:
            self._experience.catch_up()
        except HubUnavailable:
            return None
        return _look(self._hub)

    # ------------------------------------------------------------------ afterwards

    def _lived(self) -> Lived:
        directories, disk = self._config.directories, RealDisk()
        host = HostDirectory(directories.home, disk)
        spooled = [path for path in host.spool.rglob("*") if path.suffix in (".partial", ".arrow")]
        return Lived(
            rows=self._experience.rows,
            releases=self._hub.releases(limit=MOST_RELEASES),
            statuses=list(host.statuses()),
            metrics=_json_lines(directories.learner / "metrics.jsonl"),
            installed=_json_lines(host.releases / "installed"),
            spooled=len(spooled),
            clock=self._clock.name,
            began_s=self._began_s,
            time_scale=self._time_scale,
        )


class Counts:
    """Ticks driven and missed, for what came between two looks."""

    def __init__(self) -> None:
        self._driven = self._missed = 0

    def reading(self, fleet: Fleet, wall_s: float) -> Reading:
        """How well the machine kept up since the last call."""
        statuses = [member.status for member in fleet.members if member.status]
        driven, missed = sum(item.frames for item in statuses), sum(item.ticks_missed for item in statuses)
        new_driven, new_missed = driven - self._driven, missed - self._missed
        self._driven, self._missed = driven, missed
        share = new_missed / (new_driven + new_missed) if new_missed > 0 else 0.0
        return Reading(wall_s, fleet.learner.lag_s if fleet.learner else 0.0, share)


def _running(fleet: Fleet) -> int:
    """Robots that have begun their first episode."""
    statuses = [member.status for member in fleet.members if member.status]
    return sum(status.phase == "running" or status.episodes > 0 for status in statuses)


def _look(hub: Hub) -> Fleet | None:
    """None while the hub is not there or too busy."""
    try:
        return hub.fleet()
    except HubUnavailable:
        return None


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
