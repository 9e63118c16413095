"""Nothing is lost, nothing comes twice, no robot runs what was not verified: under every fault that a seed can bring.

One seed again, with all that happened: `pytest tests/faults --fault-seed N -s`.
"""

from contextlib import suppress
from pathlib import Path

import pytest
from faulty_disk import FaultyDisk, NeverForced
from faulty_line import HubProcess
from faulty_world import World

from fleetloop.core.errors import HubUnavailable, ReleaseInvalid
from fleetloop.core.hub import Acknowledgement
from fleetloop.hub import admission, experience
from fleetloop.hub.catalog import catalog
from fleetloop.hub.catalog.rows import kind_of
from fleetloop.hub.fleet import FleetBook
from fleetloop.lab.storage import scratch
from fleetloop.learner.arrival import Arrival
from fleetloop.learner.feeder import Feeder

LOST = "finished and not stored|not to be had|damaged objects|experience changed"
"""What a world says that has lost what it had promised to keep."""
EVERY_TIME, AT_LEISURE, FOR_A_PLANTED_BUG = range(50), range(50, 550), range(60)


def play(seed: int, kind: type[World] = World) -> World:
    """Raises AssertionError with the way to see it again."""
    with scratch() as directory:
        world = kind(seed, directory)
        try:
            world.run()
        except AssertionError as error:
            told = "\n".join(world.log)
            error.add_note(f"{told}\nagain: pytest tests/faults --fault-seed {seed} -s")
            raise
    return world


def play_all(seeds: range) -> None:
    worlds = [play(seed) for seed in seeds]
    # A world in which nothing happens would keep every promise.
    assert sum(len(world.finished) for world in worlds) > 4 * len(worlds)
    assert sum(len(world.log) for world in worlds) > 4 * len(worlds)


@pytest.mark.timeout(600)  # a machine with other work took minutes
def test_promises_hold_under_faults(request):
    only = request.config.getoption("--fault-seed")
    if only is None:
        play_all(EVERY_TIME)
    else:
        print(*play(only).log, sep="\n")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_promises_hold_under_faults_for_many_seeds():
    play_all(AT_LEISURE)


def test_a_seed_decides_everything():
    first, again = play(7), play(7)
    assert first.log == again.log
    assert first.finished == again.finished


# ---------------------------------------------------------------------- planted bugs are found


class Nameless(FaultyDisk):
    """Bug: directories are never synced."""

    def sync_directory(self, directory: Path) -> None: ...


class Hasty(HubProcess):
    """Bug: the hub acknowledges first, and commits soon after."""

    def serve(self, name, args, kwargs):
        if name != "put_episode":
            return super().serve(name, args, kwargs)

        def commit():
            with suppress(HubUnavailable):  # nobody is left to be told
                HubProcess.serve(self, name, args, kwargs)

        self.later(0.2, commit)
        return Acknowledgement(args[0], 0, known=False)


def play_until_found(kind: type[World] = World) -> None:
    for seed in FOR_A_PLANTED_BUG:
        play(seed, kind)


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ({"disk_kind": NeverForced}, f"{LOST}|ended as|frames of|the manifest says"),
        ({"disk_kind": Nameless}, f"{LOST}|made anew lacks|is not here; put the blobs"),
        ({"hub_kind": Hasty}, "acknowledged and not there|finished and not stored"),
    ],
    ids=["skips an fsync", "forgets the directory", "acknowledges before the commit"],
)
def test_a_planted_bug_is_found(broken, found):
    kind = type("Broken", (World,), broken)
    with pytest.raises((AssertionError, ReleaseInvalid), match=found):
        play_until_found(kind)


def test_a_hub_that_takes_the_same_episode_again_is_found(monkeypatch):
    def add_episode(self, data, seq=None):
        seq = self.add_event("episode", data["id"], data, seq)
        kept = {name: data[name] for name in ("id", "hash", "task", "outcome", "judge", "bytes")}
        kept["kind"] = kind_of(data)
        self._connection.execute(catalog.EPISODES.insert().prefix_with("OR REPLACE").values(seq=seq, **kept))
        return seq

    for room in (admission, experience):
        monkeypatch.setattr(room, "known", lambda records, id, hash: None)
    monkeypatch.setattr(catalog.Records, "add_episode", add_episode)
    with pytest.raises(AssertionError, match="stored twice"):
        play_until_found()


@pytest.mark.long
def test_a_hub_that_removes_what_a_restart_may_ask_for_is_found(monkeypatch):
    monkeypatch.setattr(FleetBook, "learner_checkpoint", lambda book: book._learner[1].cursor if book._learner else 0)
    with pytest.raises(AssertionError, match="experience changed"):
        play_until_found()


def test_a_learner_that_draws_on_is_found(monkeypatch):
    monkeypatch.setattr(Feeder, "_let_go", lambda self, event: Arrival(event.seq))
    with pytest.raises(AssertionError, match=r"drawn from in spite|experience changed"):
        play_until_found()
