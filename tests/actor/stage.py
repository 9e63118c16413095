"""An actor under virtual time with a real disk: one process, one thread, everything advanced in turn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slider import TASK, Never, Slider, load_policy, release, weights

from fleetloop.actor.actor import Actor
from fleetloop.actor.clerk import Clerk
from fleetloop.actor.handover import Nobody
from fleetloop.actor.inference import ImmediateInference
from fleetloop.actor.loader import Loader
from fleetloop.actor.options import ActorOptions
from fleetloop.actor.plan import Assignment
from fleetloop.actor.recorder import Recorder
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Orders, Registration
from fleetloop.core.recording import seal
from fleetloop.weights.codec import to_safetensors
from fleetloop.weights.signature import ANYBODYS


class Stage:
    def __init__(
        self,
        root: Path,
        *,
        operator=None,
        judge=None,
        robot=None,
        options=None,
        disk=None,
        tasks=(TASK,),
        seed=0,
        delay_ticks=1,
        trust=ANYBODYS,
    ):
        self.disk, self.clock = disk or RealDisk(), Virtual()
        self.options = options or ActorOptions()
        self.host = HostDirectory(root, RealDisk())
        self.robot = robot or Slider(self.clock)
        self.robot.clock = self.clock
        self.alarms = Alarms()
        self.recorder = Recorder(self.disk, self.host.spool, self.options.recorder, self.alarms)
        assignment = Assignment("run", "robot-1", "host", "site-1", tasks, seed)
        self.actor = Actor(
            assignment,
            self.robot,
            operator=operator or Nobody(),
            judge=judge or Never(),
            inference=ImmediateInference(delay_ticks),
            recorder=self.recorder,
            clock=self.clock,
            options=self.options,
            alarms=self.alarms,
        )
        loader = Loader(
            self.host,
            "robot-1",
            self.robot.spec,
            load_policy,
            self.clock,
            condition=self.options.condition,
            alarms=self.alarms,
            trust=trust,
        )
        registration = Registration("robot-1", "host", "site-1", tuple(t.id for t in tasks), self.robot.spec)
        self.clerk = Clerk(self.actor, loader, self.host, registration, self.alarms)

    def install(self, version: int, mark: float = 0.0, **changes: Any) -> None:
        self.host.install(release(version, mark, **changes), to_safetensors(weights(mark)))

    def attend(self, until: float) -> None:
        self.host.post_orders(Orders("robot-1", attention_until=until))

    def step(self) -> None:
        self.actor.step(self.clock.now())
        self.recorder.step(self.clock.now())
        self.clerk.load()
        self.clerk.exchange_mail()
        self.clock.sleep_until(self.actor.due)

    def until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        end = self.clock.now() + limit_s
        while not condition():
            assert self.clock.now() < end, f"never came: {self.status}"
            self.step()

    def play(self, episodes: int) -> list[Episode]:
        """Run until so many more episodes are over, and open all there are, in order."""
        goal = self.status.episodes + episodes
        self.until(lambda: self.status.episodes >= goal and self.recorder.settled)
        return self.episodes()

    def episodes(self) -> list[Episode]:
        for partial in self.host.spool.glob("*.partial"):
            if not self.disk.in_use(partial):
                seal(RealDisk(), partial)
        return [Episode.open(path) for path in sorted(self.host.spool.glob("*.arrow"))]

    @property
    def status(self):
        return self.actor.status()


class Script:
    """An operator that says what a table of ticks tells it to, in every episode."""

    name, wants_attention = "pool", True

    def __init__(self, says) -> None:
        self.says, self.views = says, []

    def start(self, instruction) -> None:
        self.instruction = instruction

    def watch(self, view):
        self.views.append(view)
        return self.says(view.tick)
