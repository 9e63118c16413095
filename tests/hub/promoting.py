"""Hubs whose promoter is advanced by hand, and robots that drive under what it hands out."""

from pathlib import Path

import pytest
from hub_world import TASKS, fresh_id, publish, put, registration, sealed

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.hub import STABLE, RobotStatus
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.hub.options import HubOptions, PromotionOptions
from fleetloop.hub.releases.promotion import Promoter
from fleetloop.hub.releases.trial_run import TrialRun
from fleetloop.hub.service import HubService


class Fleet:
    """A hub in this process with its promoter; it can be opened again."""

    def __init__(self, root: Path, **promote: object) -> None:
        self.root, self.clock, self.released = root, Virtual(start=1000), 0
        options = PromotionOptions(**{"every_s": 60, **promote})  # type: ignore[arg-type]
        self.options = HubOptions(directory=root / "hub", stable_follows_edge=False, promote=options, silent_s=1e9)
        self.open()

    def open(self) -> None:
        self.hub = HubService.open(self.options, self.clock, RealDisk(), TASKS)
        promote = self.options.promote
        trial_run = TrialRun(promote.command, "http://hub")
        self.promoter = Promoter(self.hub.publishing, self.hub.book, promote, trial_run, self.clock)

    def close(self) -> None:
        self.promoter.close()
        self.hub.close()

    def publish(self, **changes: object) -> int:
        self.released += 1
        return publish(self.hub, self.released, parent=self.released - 1, **changes).version

    def step(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        self.promoter.step(self.clock.now())

    def at(self, channel: str) -> int:
        release = self.hub.channel(channel)
        return release.version if release else 0

    def join(self, *robots: str) -> None:
        for robot in robots:
            self.hub.register(registration(robot))
        self.hub.beat([RobotStatus(robot, "running") for robot in robots])

    def runs(self, robot: str) -> int:
        (orders,) = self.hub.beat([RobotStatus(robot, "running")])
        return orders.release or self.at(STABLE)

    def drive(self, release: int, sources: str = "pppp", count: int = 1, outcome: Outcome | None = None) -> None:
        outbox = self.root / "outbox"
        outbox.mkdir(exist_ok=True)
        for _ in range(count):
            episode = sealed(outbox, sources, release=release)
            put(self.hub, episode)
            if outcome:
                self.hub.annotate(Annotation(fresh_id(), episode.meta.id, "ann", Judge.PERSON, 1.0, outcome=outcome))

    @property
    def verdicts(self) -> dict[int, str]:
        return {int(version): verdict for version, verdict in self.hub.steering().verdicts.items()}


def promoting(**options: object):
    return pytest.mark.parametrize("fleet", [options], indirect=True, ids=[""])
