"""An episode with a tombstone is let go between two steps, and a restart goes on as if nothing had happened."""

import numpy as np
import pytest
from learner_world import MemoryHub, advance, beat, demonstrations, learner_at, weights_of, write_episode

from fleetloop.learner.checkpoint import latest
from fleetloop.learner.options import SamplerOptions
from fleetloop.learner.restart import catch_up, restore


def drawable(learner):
    """The episodes that the next draw may take from."""
    buffer = learner.parts.buffer
    pools = [buffer.part(task, part) for task in range(len(buffer.tasks)) for part in (0, 1)]
    return set(buffer.episode_ids(np.concatenate(pools)))


def save(learner):
    learner.parts.checkpoints.offer(learner.checkpoint())
    learner.parts.checkpoints.work()


def again(directory, hub, **settings):
    """A new process in the same directory."""
    checkpoint = latest(directory / "checkpoints")
    learner = learner_at(directory, hub, checkpoint=checkpoint, **settings)
    catch_up(learner, checkpoint)
    restore(learner, checkpoint)
    return learner


def test_it_is_let_go_at_a_step_boundary_and_leaves_the_disk(tmp_path):
    hub = MemoryHub()
    first, second = (hub.add(write_episode(tmp_path, number, "hhhh")) for number in (1, 2))
    learner = learner_at(tmp_path / "learner", hub)
    advance(learner, 5)
    hub.bury(first)
    learner.parts.feeder.pull()
    assert drawable(learner) == {first, second}, "not in the middle of a step"
    beat(learner)
    assert drawable(learner) == {second}
    assert learner.cursor == 3
    assert [path.stem for path in tmp_path.glob("learner/**/*.arrow")] == [second]


@pytest.mark.parametrize("removed", [True, False])
def test_a_restart_after_it_goes_on_exactly_as_if_nothing_had_happened(tmp_path, removed):
    """Also where the episode was the first of its task: tasks, draws and windows keep their places."""
    paths = [
        write_episode(tmp_path / "robot", number, "pphhhhp", task=task)
        for number, task in enumerate(["push/one", "push/two", "push/left", "push/two"])
    ]
    settings = {
        "demos": demonstrations(tmp_path / "demos", 3),
        "checkpoint_every_s": 1e9,
        "sampler": SamplerOptions(max_replay=60, cold_start_records=3, window=8),
    }

    def live(learner, hub):
        advance(learner, 6)
        first, _, _ = (hub.add(path) for path in paths[:3])
        hub.say(first, exclude=False)
        advance(learner, 6)
        hub.bury(first)
        advance(learner, 6)
        return first

    straight_hub, hub = MemoryHub(), MemoryHub()
    straight = learner_at(tmp_path / "straight", straight_hub, **settings)
    live(straight, straight_hub)
    killed = learner_at(tmp_path / "killed", hub, **settings)
    id = live(killed, hub)
    save(killed)
    if removed:
        hub.remove(id)
    resumed = again(tmp_path / "killed", hub, **settings)
    assert resumed.parts.buffer.tasks == straight.parts.buffer.tasks
    assert resumed.parts.feeder.refused == 0
    for learner, its_hub in ((straight, straight_hub), (resumed, hub)):
        its_hub.add(paths[3])
        advance(learner, 10)
    assert weights_of(resumed) == weights_of(straight)
    save(resumed)
    assert weights_of(again(tmp_path / "killed", hub, **settings)) == weights_of(straight)


def test_a_restart_from_before_it_meets_it_in_its_turn(tmp_path):
    hub = MemoryHub()
    first, second = (hub.add(write_episode(tmp_path, number, "hhhh")) for number in (1, 2))
    learner = learner_at(tmp_path / "learner", hub)
    advance(learner, 5)
    save(learner)
    hub.bury(first)
    beat(learner)  # its copy has left the disk by now; the hub keeps the episode for such a restart
    resumed = again(tmp_path / "learner", hub)
    assert drawable(resumed) == {first, second}
    beat(resumed)
    assert drawable(resumed) == {second}


def test_a_learner_that_begins_later_is_not_alarmed_by_what_is_gone(tmp_path):
    hub = MemoryHub()
    first, second = (hub.add(write_episode(tmp_path, number, "hhhh")) for number in (1, 2))
    hub.say(first, exclude=False)
    hub.bury(first)
    hub.remove(first)
    learner = learner_at(tmp_path / "learner", hub)
    advance(learner, 3)
    assert drawable(learner) == {second}
    assert (learner.parts.feeder.refused, learner.status().alarm) == (0, "")


def test_an_episode_that_is_lost_without_a_tombstone_is_an_alarm(tmp_path):
    hub = MemoryHub()
    first, _ = (hub.add(write_episode(tmp_path, number, "hhhh")) for number in (1, 2))
    hub.remove(first)
    learner = learner_at(tmp_path / "learner", hub)
    advance(learner, 3)
    assert first in learner.status().alarm


def test_a_parked_learner_holds_up_no_retention(tmp_path):
    """A night without corrections: episodes come that train nothing, and no newer step is ever saved."""
    hub, settings = MemoryHub(), {"park_after_s": 5.0, "checkpoint_every_s": 1e9}
    learner = learner_at(tmp_path / "learner", hub, **settings)
    ids = [hub.add(write_episode(tmp_path, number, "hhhh")) for number in range(3)]
    for _ in range(3):
        advance(learner, 2)
        save(learner)
    while not learner.parked:
        beat(learner)
    for number in range(3, 9):
        ids.append(hub.add(write_episode(tmp_path, number, "pppp")))
        beat(learner)
        save(learner)
    assert learner.status().checkpoint == len(hub.log)
    for id in (ids[0], ids[5]):
        hub.bury(id)
    beat(learner)
    save(learner)
    assert learner.status().checkpoint == len(hub.log)
    for id in (ids[0], ids[5]):
        hub.remove(id)
    learner = again(tmp_path / "learner", hub, **settings)
    beat(learner)
    assert learner.parked, "a restart is no news"
    hub.add(write_episode(tmp_path, 9, "hhhh"))
    advance(learner, 2)


def test_the_hub_is_told_the_cursor_of_the_oldest_checkpoint(tmp_path):
    """A damaged newest one must be able to fall back on it."""
    hub = MemoryHub()
    settings = {"keep_checkpoints": 2, "checkpoint_every_s": 1e9}
    learner = learner_at(tmp_path / "learner", hub, **settings)
    assert learner.status().checkpoint == 0
    told = []
    for number in range(1, 5):
        hub.add(write_episode(tmp_path, number, "hhhh"))
        advance(learner, 2)
        save(learner)
        told.append(learner.status().checkpoint)
    assert told[1:] == [1, 2, 3]
    assert again(tmp_path / "learner", hub, **settings).status().checkpoint == 3
