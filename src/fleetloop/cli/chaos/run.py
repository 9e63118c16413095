"""The run: a fleet comes up, is maltreated for the agreed time, is left in peace, and then is counted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fleetloop.cli.chaos.count import counted, events
from fleetloop.cli.chaos.disk import SmallDisk, small_disk
from fleetloop.cli.chaos.plan import DEMONSTRATIONS, ChaosPlan, chaos_config
from fleetloop.cli.chaos.proxy import Proxy, Weather
from fleetloop.cli.chaos.witness import Witness
from fleetloop.cli.config import FleetConfig
from fleetloop.cli.config_text import to_yaml
from fleetloop.cli.demo import jobs
from fleetloop.cli.demo.place import cleared
from fleetloop.cli.demo.plan import free_port
from fleetloop.cli.demo.processes import FleetProcesses
from fleetloop.cli.wiring import open_hub
from fleetloop.core.clock import Scaled, Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import FleetLoopError, HubUnavailable
from fleetloop.core.hub import Hub
from fleetloop.courier.spool import REFUSED

Say = Callable[[str], None]
COME_UP_S, SETTLE_S, LOOK_S = 90.0, 120.0, 0.2
DOWN_S, FINE_S, BAD_S, FULL_S = 2.0, 15.0, 5.0, 6.0  # at most, real seconds


class FleetStuck(FleetLoopError):
    """The fleet did not come up, or did not come to rest once it was left in peace."""


@dataclass
class Deeds:
    """What was done."""

    kills: Counter[str] = field(default_factory=Counter)
    weather: Counter[str] = field(default_factory=Counter)
    full_disks: int = 0


class ChaosRun:
    """One run, in a directory that was made ready."""

    def __init__(self, plan: ChaosPlan, config: FleetConfig, processes: FleetProcesses, proxy: Proxy, say: Say) -> None:
        self._plan, self._config, self._processes, self._proxy, self._say = plan, config, processes, proxy, say
        self._wall, self._rng, self._deeds = Wall(), Random(plan.seed), Deeds()
        # The counting goes past the proxy: the network's weather is the fleet's, not ours.
        self._hub: Hub = open_hub(config.model_copy(update={"hub_url": f"http://127.0.0.1:{config.hub.port}"}))
        self._commands = {
            "hub": ("hub",),
            "courier": ("courier",),
            "learner": ("learner",),
            **{robot.name: ("actor", "--robot", robot.name) for robot in config.robots},
        }

    def run(self, disk: SmallDisk) -> dict[str, Any]:
        """Returns the report. Raises FleetStuck."""
        spool = self._config.directories.home / "spool"
        with Witness(spool) as witness:
            for name in self._commands:
                self._start(name)
            self._until(self._everybody_works, COME_UP_S, "the fleet did not come up")
            self._maltreat(disk)
            self._say("peace: robots stop, the rest comes to rest")
            self._proxy.turn(Weather.FINE)
            disk.relieve()
            robots = [robot.name for robot in self._config.robots]
            self._processes.stop(*robots)
            self._until(lambda: self._at_rest(spool), SETTLE_S, "it did not come to rest")
        return {**counted(self._hub, witness.frames, spool / REFUSED), **self._done(disk)}

    # ------------------------------------------------------------------ what is done to it

    def _maltreat(self, disk: SmallDisk) -> None:
        """Kills at random moments; the weather and the disk change all the while."""
        began, total = self._wall.now(), self._plan.minutes * 60
        due = sorted((began + self._rng.uniform(0, total), "kill") for _ in range(self._plan.kills))
        due += self._changes(began, began + total)
        revive: list[tuple[float, str]] = []
        for at, deed in sorted(due):
            self._wait(at, revive)
            if deed == "kill":
                name = self._rng.choice(
                    [name for name in self._commands if name not in dict(revive).values()] or ["hub"]
                )
                self._kill(name, revive)
            elif deed in ("full", "room"):
                (disk.fill if deed == "full" else disk.relieve)()
                self._deeds.full_disks += deed == "full" and not disk.missing
            else:
                self._proxy.turn(Weather(deed))
                self._deeds.weather[deed] += 1
        self._wait(began + total, revive)
        for _, name in revive:
            self._start(name)

    def _changes(self, now: float, until: float) -> list[tuple[float, str]]:
        """When the network turns bad and fine again, and when the disk is full and has room again."""
        found = []
        for bad, worst_s in ((("cut", "slow", "lossy"), BAD_S), (("full",), FULL_S)):
            at = now
            while (at := at + self._rng.uniform(0.3, 1.0) * FINE_S) < until:
                found.append((at, self._rng.choice(bad)))
                at += self._rng.uniform(0.2, 1.0) * worst_s
                found.append((min(at, until), "room" if "full" in bad else "fine"))
        return found

    def _kill(self, name: str, revive: list[tuple[float, str]]) -> None:
        if any(other == name for _, other in revive):
            return
        self._processes.kill(name)
        self._deeds.kills[name] += 1
        revive.append((self._wall.now() + self._rng.uniform(0, DOWN_S), name))

    def _wait(self, until: float, revive: list[tuple[float, str]]) -> None:
        """Whoever was killed comes back meanwhile."""
        while (now := self._wall.now()) < until:
            for entry in [entry for entry in revive if entry[0] <= now]:
                revive.remove(entry)
                self._start(entry[1])
            self._revive_ended()
            self._wall.sleep_until(min(until, now + LOOK_S))

    def _revive_ended(self) -> None:
        """A process may stop itself, with an error, for a disk that is full; its supervisor would start it again."""
        for name in self._processes.ended():
            self._deeds.kills[f"{name} (stopped itself)"] += 1
            self._start(name)

    def _start(self, name: str) -> None:
        self._processes.start(name, *self._commands[name])

    # ------------------------------------------------------------------ what holds afterwards

    def _everybody_works(self) -> bool:
        fleet = self._hub.fleet()
        return sum(bool(member.status and member.status.episodes) for member in fleet.members) == self._plan.robots

    def _at_rest(self, spool: Path) -> bool:
        self._revive_ended()
        waiting = any(path.is_file() for path in spool.iterdir())
        learner = self._hub.fleet().learner
        newest = max((event.seq for event in events(self._hub)), default=0)
        return not waiting and learner is not None and learner.cursor == newest

    def _until(self, condition: Callable[[], bool], patience_s: float, complaint: str) -> None:
        deadline = self._wall.now() + patience_s
        while self._wall.now() < deadline:
            try:
                if condition():
                    return
            except HubUnavailable:
                pass  # it is coming up
            self._wall.sleep_until(self._wall.now() + LOOK_S)
        raise FleetStuck("fleet", f"{complaint} in {patience_s:.0f} s", f"see {self._plan.directory / 'logs'}")

    def _done(self, disk: SmallDisk) -> dict[str, Any]:
        mine = {name: count for name, count in self._deeds.kills.items() if "(" not in name}
        return {
            "minutes": self._plan.minutes,
            "robots": self._plan.robots,
            "seed": self._plan.seed,
            "kills": sum(mine.values()),
            "killed": mine,
            "stopped_themselves": {name: count for name, count in self._deeds.kills.items() if "(" in name},
            "network": dict(self._deeds.weather),
            "connections_broken": dict(self._proxy.broken),
            "disk_filled": self._deeds.full_disks,
            "disk": disk.missing or "a tmpfs of the robots' host",
        }


def run_chaos(plan: ChaosPlan, say: Say) -> dict[str, Any]:
    """Do it all; nothing is left running. Raises FleetStuck, ConfigInvalid, DiskTrouble."""
    port = free_port()
    with cleared(plan.directory), Proxy(port, plan.seed) as proxy, small_disk(plan.directory / "host") as disk:
        config, file = chaos_config(plan, port, proxy.url), plan.directory / "fleet.yaml"
        RealDisk().write(file, to_yaml(config, docs=True).encode())
        say("a few demonstrations, and a base that knows next to nothing")
        for task in config.tasks:
            jobs.record(config, task, DEMONSTRATIONS)
        jobs.train_base(config)
        assert config.clock.file is not None
        Scaled.create(config.clock.file, config.clock.factor)
        say(f"{plan.robots} robots, hub, courier and learner for {plan.minutes:g} minutes, {plan.kills} kills")
        with FleetProcesses(file, plan.directory / "logs") as processes:
            return ChaosRun(plan, config, processes, proxy, say).run(disk)
