"""The virtual-time fleet: real actors, courier, hub, sampler and learner in one process, repeatable bit for bit.

Every part is advanced as in its own process, by one event queue instead of threads, under clocks that only the queue
moves; the hub is called without HTTP. What takes time in life is charged as `Costs` states. The learner's budget is
steps per clock second, however many robots there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.hub import EDGE
from fleetloop.core.release import Release
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.herald import Herald
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.spool import Spool
from fleetloop.courier.uploader import Uploader
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService
from fleetloop.lab.agenda import Agenda
from fleetloop.lab.candidate import Candidate, from_release
from fleetloop.lab.host import VirtualHost
from fleetloop.lab.plan import FleetPlan
from fleetloop.lab.station import LAB, Station
from fleetloop.learner.assemble import Surroundings, assemble, open_demonstrations
from fleetloop.learner.base import Base
from fleetloop.learner.loop import Learner
from fleetloop.learner.sampler import AdaptiveSampler

NEVER_S = 1e9
# One process: nobody falls silent, no request waits, and every call is a beat.
COURIER = CourierOptions(beat_wall_s=1.0, look_wall_s=1.0, poll_wall_s=0.0, silent_wall_s=NEVER_S, blobs_at_once=0)
EVENTS = 256

Row = Mapping[str, Any]
"""What the hub's catalog says of an episode."""


class FleetStuck(FleetLoopError):
    """A part of a virtual fleet raised an alarm: what follows would be worth nothing."""


@dataclass(frozen=True)
class Courier:
    """The parts of the one courier that serves all robots."""

    uploader: Uploader
    fetcher: Fetcher
    herald: Herald
    alarms: Alarms


class VirtualFleet:
    """One run.

    Args:
        base: where the policy starts; the fleet trains it in place.
        directory: for everything that the run writes, all of which may be thrown away: one in memory is quickest.

    Attributes:
        rows: of all episodes that the hub has, oldest first.
    """

    def __init__(self, plan: FleetPlan, base: Base, demonstrations: Sequence[Episode], directory: Path) -> None:
        repeatable()
        self.plan, self.rows, self._directory = plan, list[Row](), directory
        self._agenda, disk = Agenda(), RealDisk()
        options = HubOptions(directory=directory / "hub", attention=plan.attention)
        self.hub = HubService.open(options, self._agenda.clock, disk, plan.tasks)
        host = VirtualHost(directory / "host", disk)
        self._courier = _courier(host, self.hub, disk, self._agenda)
        self._learner_clock = Virtual()
        self.learner = self._assembled(base, demonstrations, directory / "learner")
        self._stations = [
            Station(plan, entry, self._agenda, host, disk, upload=self._upload, beat=self._beat)
            for entry in plan.robots
        ]
        self._seen = 0
        self._start()

    def run(self, until: float) -> None:
        """Let the fleet work until then (clock seconds).

        Raises:
            FleetStuck: naming what raised an alarm.
        """
        self._agenda.run(until)
        for part in (self.learner.parts.publisher, self.learner.parts.feeder):
            if part.alarm:
                raise FleetStuck("learner", part.alarm)
        for text in (self._courier.alarms.text, *(station.actor.status().alarm for station in self._stations)):
            if text:
                raise FleetStuck("fleet", text)

    def stop(self) -> None:
        """End the running episodes, upload what is left, let the learner fetch it, and publish the last weights."""
        now = self.now
        for station in self._stations:
            station.stop(now)
        while True:
            self._courier.uploader.step()
            if self._courier.uploader.idle:
                break
        while self.learner.parts.feeder.pull():
            self.learner.admit(self.learner.parts.feeder.take(), now)
        self.learner.publish(now)
        self.learner.parts.publisher.work(now)
        self.learner.note_published()
        self.learner.parts.metrics.close()
        self.catch_up()

    def close(self) -> None:
        self.hub.close()

    def candidate(self) -> Candidate:
        """The newest release, fetched and verified."""
        return from_release(self.hub, self.newest().version)

    def newest(self) -> Release:
        """The manifest of the newest release."""
        release = self.hub.channel(EDGE)
        assert release is not None, "a learner publishes before its first step"
        return release

    def sample_by(self, sampler: AdaptiveSampler) -> None:
        """Draw batches by another sampler than the learner's own; before the first step."""
        self.learner.parts = replace(self.learner.parts, sampler=sampler)

    @property
    def now(self) -> float:
        """Clock seconds."""
        return self._agenda.clock.now()

    @property
    def episodes(self) -> list[Episode]:
        """All that have come to the learner, oldest first."""
        return open_demonstrations(self._directory / "learner" / "episodes")

    def catch_up(self) -> list[Row]:
        """Bring `rows` up to now, and return them."""
        while events := self.hub.events(self._seen, limit=EVENTS):
            self.rows += [event.data for event in events if event.kind == "episode"]
            self._seen = events[-1].seq
        return self.rows

    # ------------------------------------------------------------------ the parts

    def _assembled(self, base: Base, demonstrations: Sequence[Episode], directory: Path) -> Learner:
        learner = self.plan.learner.model_copy(
            update={"seed": self.plan.seed, "checkpoint_every_s": NEVER_S, "tensorboard": False}
        )
        around = Surroundings(self.hub, self._learner_clock, RealDisk(), directory)
        return assemble(
            LAB, learner, base, self.plan.algorithm.build("algorithms"), around, demonstrations=demonstrations
        )

    def _start(self) -> None:
        agenda, costs, parts = self._agenda, self.plan.costs, self.learner.parts
        clock = agenda.clock
        self.hub.experience.news.listen(lambda: agenda.at(clock.now() + costs.fetch_s, lambda now: _pull(self.learner)))
        self.hub.publishing.news.listen(lambda: agenda.at(clock.now() + costs.install_s, self._install))
        agenda.at(0.0, self._learn)
        agenda.at(0.0, self._relabel)
        agenda.every(costs.publish_s, parts.publisher.work, 0.0)
        agenda.every(self.plan.mail_s, self._beat, costs.message_s)
        for station in self._stations:
            agenda.at(0.0, station.start)

    def _learn(self, now: float) -> None:
        self._learner_clock.sleep_until(now)
        before = self.learner.steps
        due = self.learner.step(now)
        if self.learner.steps > before:
            self._learner_clock.advance(self.plan.costs.step_s)
        self._agenda.at(max(due, self._learner_clock.now()), self._learn)

    def _relabel(self, now: float) -> None:
        costs = self.plan.costs
        self._agenda.at(now + (costs.slice_s if self.learner.work() else costs.publish_s), self._relabel)

    def _upload(self, now: float) -> None:
        self._courier.uploader.step()

    def _install(self, now: float) -> None:
        self._courier.fetcher.step()

    def _beat(self, now: float) -> None:
        self._courier.herald.step()
        self._agenda.at(now + self.plan.costs.message_s, self._hear)

    def _hear(self, now: float) -> None:
        for station in self._stations:
            station.clerk.hear()


def repeatable() -> None:
    """One thread for torch, and only operations that give the same bits again."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def _pull(learner: Learner) -> None:
    learner.parts.feeder.pull()


def _courier(host: VirtualHost, hub: HubService, disk: RealDisk, agenda: Agenda) -> Courier:
    alarms, rng = Alarms(), np.random.default_rng(0)

    def backoff() -> Backoff:
        return Backoff(COURIER, rng.spawn(1)[0])

    return Courier(
        Uploader(Spool(host.spool, disk, alarms), hub, COURIER, backoff(), alarms),
        Fetcher(host, hub, options=COURIER, backoff=backoff(), alarms=alarms, clock=agenda.clock),
        Herald(host, hub, COURIER, backoff(), alarms, clock=agenda.clock),
        alarms,
    )
