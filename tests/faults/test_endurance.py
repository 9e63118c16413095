"""Two hours of work with faults all along: as much succeeds at their end, and memory and disk are no fuller."""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import faulty_parts
import faulty_world
import numpy as np
import psutil
import pytest
from faulty_line import CALM, Line, Odds
from faulty_parts import COURIER, RUN, SPEC, Part
from faulty_world import World

from fleetloop.core.errors import FleetLoopError
from fleetloop.core.hub import STABLE
from fleetloop.core.outcome import Outcome
from fleetloop.lab.storage import scratch
from fleetloop.weights.codec import encode
from manifests import manifest_of

HOURS, WINDOW_S = 2.0, 600.0
PUBLISH_S, WEIGHTS = 15.0, 2_000
RARER = 40  # than in the other tests: a crash every few minutes
ODDS = Odds()
ODDS = replace(ODDS, crash_at_step=ODDS.crash_at_step / RARER, crash_at_disk=ODDS.crash_at_disk / RARER)


class Publisher:
    """In the learner's place: publishes ever new weights, follows the cursor, and keeps nothing."""

    def __init__(self, hub: Line, rng: random.Random) -> None:
        self._hub, self._rng, self._cursor = hub, np.random.default_rng(rng.randrange(1 << 30)), 0
        self.threads = (self._publish, self._follow)

    def _publish(self, now: float) -> float:
        encoded = encode({"weight": self._rng.normal(size=WEIGHTS).astype(np.float32)})
        try:
            newest = self._hub.channel(STABLE)
            lease = self._hub.claim_lease("endurance")
            for hash, data in encoded.blobs.items():
                self._hub.put_blob(hash, data)
            self._hub.publish(_manifest(encoded, newest.version if newest else 0), lease)
        except FleetLoopError:
            return 1.0
        return PUBLISH_S

    def _follow(self, now: float) -> float:
        try:
            for event in self._hub.events(self._cursor):
                self._cursor = event.seq
        except FleetLoopError:
            return 1.0
        return 0.5


def _manifest(encoded, parent):
    return manifest_of(encoded, SPEC, run=RUN, step=parent, parent=parent, policy={"name": "tiny"})


@dataclass(frozen=True)
class Window:
    """Ten minutes: episodes finished in it, those of them that succeeded, bytes of this process at its end, and of the
    robots' host on its disk.
    """

    episodes: int
    successes: int
    memory: int
    disk: int


class LongRun(World):
    """Attributes: windows: as they went by."""

    def __init__(self, seed: int, directory: Path) -> None:
        super().__init__(seed, directory)
        self.odds, self.windows = ODDS, []

    def run(self) -> None:
        for host in self.hosts:
            for part in host.parts:
                self._revive_at(0.0, part)
        for window in range(round(HOURS * 3600 / WINDOW_S)):
            before = len(self.finished)
            self.agenda.run((window + 1) * WINDOW_S)
            endings = [ending for _, ending in list(self.finished.values())[before:]]
            successes = sum(ending.outcome is Outcome.SUCCESS for ending in endings)
            memory, disk = psutil.Process().memory_info().rss, _bytes_in_use(self.hosts[0].directory)
            self.windows.append(Window(len(endings), successes, memory, disk))
        self.odds = CALM
        for part in self.hosts[0].parts:
            if part.name.startswith("robot"):
                self._end(part)
        self.agenda.run(self.agenda.clock.now() + 60.0)

    def stored(self) -> set[str]:
        """The episodes that the hub has."""
        service, seen, cursor = self.hub.process.service, set[str](), 0
        while events := service.events(cursor, limit=10_000):
            cursor = events[-1].seq
            seen |= {event.ref for event in events}
        return seen

    def _start_learner(self, part: Part, now: float) -> Publisher:
        return Publisher(Line(self), self.rng)


def _bytes_in_use(host: Path) -> int:
    """Without what is kept for a person to look at: episodes that a power cut tore, and what was installed when."""
    files = (path for path in host.rglob("*") if path.is_file() and not path.name.startswith("installed"))
    return sum(path.stat().st_size for path in files if path.parent.name != "refused")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_hours_are_as_good_at_their_end_as_at_their_beginning(monkeypatch):
    monkeypatch.setattr(faulty_world, "FAULTY_S", HOURS * 3600)
    monkeypatch.setattr(faulty_parts, "TICKS", 30)  # longer episodes and fewer looks than where every second counts
    rarely = {"scan_wall_s": 0.5, "beat_wall_s": 2.0, "look_wall_s": 1.0}
    monkeypatch.setattr(faulty_parts, "COURIER", COURIER.model_copy(update=rarely))
    with scratch() as directory:
        world = LongRun(0, directory)
        world.run()
        assert len(world.log) > 10 * HOURS, "hardly anything went wrong"
        assert world.finished.keys() <= world.stored()
        assert [path.name for path in (world.hosts[0].directory / "spool").glob("*.*")] == []
    first, *others = world.windows
    assert 0 < first.successes < first.episodes, "what never fails shows nothing"
    for window in others:
        assert 0.9 < window.episodes / first.episodes < 1.1
        assert window.successes > 0.85 * first.successes
        assert window.memory < 1.1 * first.memory
        assert window.disk < 2 * first.disk  # a spool that empties itself is now longer, now shorter
