"""From a tombstone to the end: its bytes go only when no learner can ask for them any more."""

import errno
from pathlib import Path
from typing import Any

import pytest
from hub_world import HubProcess, fresh_id, put, sealed, until
from retaining import SHELF, Start, learner_kept, living, put_some, stored, sweep, to_remove, tombstones

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk, disk_trouble
from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import LearnerStatus
from fleetloop.core.outcome import Annotation, Judge
from fleetloop.hub import retention
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.rebuild import rebuild
from fleetloop.hub.retention import BURIED_AT_ONCE


def test_a_tombstone_is_an_event_and_the_episode_is_listed_no_more(
    retaining: Start, outbox: Path, clock: Virtual
) -> None:
    hub = retaining(max_episodes=1)
    first, second = put_some(hub, outbox, "pp", "pp")
    sweep(hub, clock)
    events = hub.events(0)
    assert [(event.kind, event.ref) for event in events] == [
        ("episode", first),
        ("episode", second),
        ("tombstone", first),
    ]
    assert events[0].data["tombstone"] == 3
    assert "tombstone" not in events[1].data
    assert {name: events[2].data[name] for name in ("episode", "task", "why")} == {
        "episode": first,
        "task": SHELF,
        "why": "count",
    }
    assert hub.fleet().episodes == 1
    with pytest.raises(HubRefused, match="tombstone") as refusal:
        hub.annotate(Annotation(fresh_id(), first, "ann", Judge.PERSON, 1.0, exclude=True))
    assert refusal.value.status == 410


def test_a_learner_that_waits_is_woken(retaining: Start, outbox: Path, clock: Virtual) -> None:
    hub = retaining(max_episodes=0)
    put_some(hub, outbox, "pp")
    rung: list[bool] = []
    hub.experience.news.listen(lambda: rung.append(True))
    sweep(hub, clock)
    assert rung == [True]


def test_one_look_finds_all_that_goes_and_what_arrives_meanwhile_is_not_forgotten(
    retaining: Start, outbox: Path, clock: Virtual, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look goes through everything that a task has: before each few tombstones it would take hours."""
    hub, looks = retaining(max_episodes=2), []
    ids = put_some(hub, outbox, *["pp"] * (2 * BURIED_AT_ONCE + 3))

    def excess(*given: Any) -> Any:
        looks.append(given)
        return found(*given)

    found = retention.excess
    monkeypatch.setattr(retention, "excess", excess)
    assert hub.retention.bury() == BURIED_AT_ONCE
    ids += put_some(hub, outbox, "pp", "pp")
    assert sum(iter(hub.retention.bury, 0)) == BURIED_AT_ONCE + 3
    assert (living(hub), tombstones(hub)) == (ids[-2:], ids[:-2])
    assert len(looks) == 3, "the first, one for what arrived meanwhile, and one that finds nothing"


def test_what_has_a_tombstone_by_now_gets_no_second_one(
    retaining: Start, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = retaining(max_episodes=0)
    ids = put_some(hub, outbox, "pp", "pp")
    with hub._catalog.reading() as records:
        found = retention.excess(records, hub.retention._options, 0.0, 10)
    hub.retention.bury()
    monkeypatch.setattr(retention, "excess", lambda *_: found)
    hub.retention.bury()
    assert tombstones(hub) == ids


def test_the_bytes_stay_until_the_learners_oldest_checkpoint_is_past_the_tombstone(
    retaining: Start, outbox: Path, clock: Virtual, tmp_path: Path
) -> None:
    hub = retaining(max_episodes=0)
    (id,) = put_some(hub, outbox, "pp")
    for reported in (None, 0, 1):
        if reported is not None:
            learner_kept(hub, reported)
        sweep(hub, clock)
        hub.get_episode(id, tmp_path / "copy")
    assert to_remove(hub) == (1, hub.events(0)[0].data["bytes"])
    learner_kept(hub, 2)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == set()
    assert to_remove(hub) == (0, 0)
    with pytest.raises(HubRefused, match="retention removed it") as refusal:
        hub.get_episode(id, tmp_path / "copy")
    assert refusal.value.status == 410


def test_the_bytes_stay_for_the_grace_period(retaining: Start, outbox: Path, clock: Virtual, tmp_path: Path) -> None:
    hub = retaining(max_episodes=0, grace_wall_s=86_400)
    (id,) = put_some(hub, outbox, "pp")
    sweep(hub, clock)
    learner_kept(hub, 2)
    clock.advance(80_000)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == {id}
    clock.advance(10_000)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == set()


def test_a_hub_that_was_restarted_waits_until_the_learner_speaks(
    retaining: Start, outbox: Path, clock: Virtual, tmp_path: Path
) -> None:
    hub = retaining(max_episodes=0)
    put_some(hub, outbox, "pp")
    sweep(hub, clock)
    hub = retaining()  # also without caps what has a tombstone goes
    sweep(hub, clock)
    assert len(stored(hub, tmp_path)) == 1
    learner_kept(hub, 2)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == set()


@pytest.mark.parametrize("removed", [False, True])
def test_a_robot_that_sends_it_again_is_told_that_it_is_known(
    retaining: Start, outbox: Path, clock: Virtual, tmp_path: Path, removed: bool
) -> None:
    hub = retaining(max_episodes=0)
    episode = sealed(outbox, "pp")
    seq = put(hub, episode)
    sweep(hub, clock)
    if removed:
        learner_kept(hub, 2)
        sweep(hub, clock)
    before = stored(hub, tmp_path)
    said = hub.put_episode(episode.meta.id, episode.path, episode.hash)
    assert (said.seq, said.known) == (seq, True)
    assert stored(hub, tmp_path) == before == (set() if removed else {episode.meta.id})
    assert len(hub.events(0)) == 2
    with pytest.raises(HubRefused, match="is known with the hash") as refusal:
        put(hub, sealed(outbox, "ppp", id=episode.meta.id))
    assert refusal.value.status == 409


@pytest.mark.parametrize("removed", [False, True])
def test_tombstones_survive_a_rebuild(
    retaining: Start, outbox: Path, clock: Virtual, tmp_path: Path, removed: bool
) -> None:
    hub = retaining(max_episodes=1)
    episodes = [sealed(outbox, "pp") for _ in range(3)]
    for episode in episodes:
        put(hub, episode)
    sweep(hub, clock)
    if removed:
        learner_kept(hub, 5)
        sweep(hub, clock)
    events = hub.events(0)
    hub.close()
    found = rebuild(HubOptions(directory=tmp_path / "hub"), clock, RealDisk())
    assert (found.different, found.damaged, found.unheard_of) == ((), (), ())
    hub = retaining()
    assert hub.events(0) == events
    assert living(hub) == [episodes[2].meta.id]
    assert hub.put_episode(episodes[0].meta.id, episodes[0].path, episodes[0].hash).known
    assert to_remove(hub)[0] == (0 if removed else 2)
    learner_kept(hub, 5)
    sweep(hub, clock)
    assert stored(hub, tmp_path) == {episodes[2].meta.id}, "what was on its way out goes on its way"


class SickDisk(RealDisk):
    """Refuses to write or to remove while it is full."""

    full = False

    def write(self, path: Path, data: bytes) -> None:
        self._check(path)
        super().write(path, data)

    def remove(self, path: Path) -> None:
        self._check(path)
        super().remove(path)

    def _check(self, path: Path) -> None:
        if self.full:
            raise disk_trouble(path, OSError(errno.ENOSPC, "No space left on device"))


def test_a_full_disk_is_an_alarm_and_nothing_is_half_done(
    retaining: Start, outbox: Path, clock: Virtual, tmp_path: Path
) -> None:
    disk = SickDisk()
    hub = retaining(disk, max_episodes=1)
    ids = put_some(hub, outbox, "pp", "pp")
    disk.full = True
    sweep(hub, clock)
    assert "full" in hub.retention.alarms.text
    assert hub.retention.alarms.text in hub.fleet().alarm
    assert living(hub) == ids
    disk.full = False
    sweep(hub, clock)
    assert hub.retention.alarms.text == ""
    assert living(hub) == ids[1:]
    learner_kept(hub, 3)
    disk.full = True
    sweep(hub, clock)
    assert "full" in hub.retention.alarms.text
    disk.full = False
    sweep(hub, clock)
    assert stored(hub, tmp_path) == set(ids[1:])


def test_a_hub_in_its_own_process_sees_to_it_by_itself(tmp_path: Path, outbox: Path) -> None:
    retention = {"max_episodes": 1, "every_s": 0.05, "grace_wall_s": 0.0}
    hub = HubProcess.start(tmp_path / "hub", retention=retention)
    client = HttpHub(hub.url)
    ids = [sealed(outbox, "pp") for _ in range(3)]
    for episode in ids:
        put(client, episode)
    gone = {episode.meta.id for episode in ids[:2]}
    until(lambda: {event.ref for event in client.events(0) if event.kind == "tombstone"} == gone)
    client.report_learner(LearnerStatus("run-1", 0, 0, 5, False, 0.0, checkpoint=5))
    until(lambda: {path.stem for path in (tmp_path / "hub" / "episodes").iterdir()} == {ids[2].meta.id})
    client.close()
    assert hub.stop() == 0
