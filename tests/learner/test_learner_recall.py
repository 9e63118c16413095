"""A learner that the hub tells to go back to an older release: it does, once, whatever happens meanwhile."""

from dataclasses import replace

import pytest
from learner_alive import eventually, start
from learner_world import MemoryHub, advance, demonstrations, learner_at, options

from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble
from fleetloop.core.hub import LearnerOrders
from fleetloop.hub.http.client import HttpHub
from fleetloop.learner import recall
from fleetloop.learner.checkpoint import existing, latest, load, save
from fleetloop.learner.recall import NOTE, Recall

QUICK = {"publish_every_steps": 5, "checkpoint_every_s": 0.2, "report_every_s": 0.1, "park_after_s": None}
KEPT = {"keep_checkpoints": 1000}  # none is pruned while the test looks at it
TOLD = "told to go back: on from the newest checkpoint that is no later than release"


class Insisting(MemoryHub):
    """A hub that gives an order again and again, as if it never heard the answer."""

    orders = LearnerOrders()

    def report_learner(self, status):
        super().report_learner(status)
        return self.orders


def test_a_running_learner_goes_back_with_the_fleet_and_after_kill_9_on_from_there(tmp_path, hub, learner_process):
    client, kept = HttpHub(hub), tmp_path / "learner" / "checkpoints"
    demonstrations(tmp_path / "demos", 2)
    settings = options(steps_per_s=40.0, **QUICK, **KEPT).model_dump_json()
    first = learner_process(settings)
    eventually(lambda: first.steps() and existing(kept) and latest(kept).release >= 4)
    asked, oldest = client.releases()[0].version, load(existing(kept)[0])
    back_to = oldest.release + oldest.publishing
    assert client.roll_back(back_to, reset_learner=True).learner_to == back_to

    def branch_of(versions):
        return next((one for one in client.releases() if one.version > asked and one.parent in versions), None)

    branch = eventually(lambda: branch_of(range(back_to + 1)))
    eventually(lambda: client.fleet().learner_to == 0)
    left = [load(path) for path in kept.glob("aside-*")]
    assert left
    assert all(checkpoint.release + checkpoint.publishing > back_to for checkpoint in left)
    assert (client.fleet().stable, client.fleet().held) == (back_to, True)

    eventually(lambda: latest(kept).release >= branch.version)
    first.process.kill()
    said = first.process.communicate(timeout=20)[0]
    assert f"{TOLD} {back_to}" in said
    assert f"release {branch.parent};" in said.split(TOLD)[1], "it says from which release it goes on"
    before = client.releases()[0].version
    learner_process(settings)
    eventually(lambda: client.releases()[0].version > before)
    assert client.release(before + 1).parent >= branch.version


def test_an_order_is_obeyed_once_though_the_hub_never_hears_of_it(tmp_path):
    hub, said, kept = Insisting(), [], tmp_path / "learner" / "checkpoints"
    settings = {**QUICK, "checkpoint_every_s": 1e9, "keep_checkpoints": 1}  # a later one would take its place
    stop, outcome = start(tmp_path, hub, say=said.append, **settings)
    eventually(lambda: len(hub.published) >= 4 and existing(kept))
    hub.orders = LearnerOrders("order-1", back_to=latest(kept).release)
    eventually(lambda: hub.statuses[-1].answered == "order-1")
    count = len(hub.published)
    eventually(lambda: len(hub.published) > count + 1)
    stop.set()
    again = outcome().release
    stop, outcome = start(tmp_path, hub, say=said.append, **settings)
    count = len(hub.statuses)
    eventually(lambda: len(hub.statuses) > count + 2)
    hub.orders = LearnerOrders("order-2", back_to=again)
    eventually(lambda: hub.statuses[-1].answered == "order-2")
    stop.set()
    outcome()
    assert len([line for line in said if line.startswith(TOLD)]) == 2
    assert f"release {again};" in said[-1]


def test_one_that_can_not_be_obeyed_is_an_alarm_and_training_goes_on(tmp_path):
    hub, said = Insisting(), []
    hub.orders = LearnerOrders("order-1", back_to=3)
    hub.release = lambda version: None  # it knows the releases of the checkpoints
    for step, release in ((10, 4), (20, 8)):
        learner = learner_at(tmp_path / "before", MemoryHub(), demos=demonstrations(tmp_path / "demos", 2))
        advance(learner, 1)
        checkpoint = replace(learner.checkpoint(), step=step, release=release)
        save(RealDisk(), tmp_path / "learner" / "checkpoints", checkpoint, keep=3)
    stop, outcome = start(tmp_path, hub, say=said.append, **QUICK, **KEPT)
    eventually(lambda: hub.statuses and hub.statuses[-1].answered == "order-1")
    alarm, count = hub.statuses[-1].alarm, len(hub.published)
    eventually(lambda: len(hub.published) > count)
    stop.set()
    assert outcome().steps > 20
    assert "was told to go back, and goes on: release 3: is older than every checkpoint" in alarm
    assert "raise learner.keep_checkpoints" in alarm
    assert not any(line.startswith(TOLD) for line in said)


def test_a_checkpoint_that_goes_while_it_is_looked_at_is_no_reason_to_refuse(tmp_path, monkeypatch):
    """Another thread writes the next one and drops the oldest."""
    learner = learner_at(tmp_path / "any", MemoryHub(), demos=demonstrations(tmp_path / "demos", 2))
    advance(learner, 1)
    kept = tmp_path / "checkpoints"
    for step, release in ((10, 3), (20, 5)):
        save(RealDisk(), kept, replace(learner.checkpoint(), step=step, release=release), keep=2)
    real = recall.later_than

    def meanwhile(root, release):
        monkeypatch.setattr(recall, "later_than", real)
        save(RealDisk(), kept, replace(learner.checkpoint(), step=30, release=8), keep=2)
        return [load(kept / "step-0000000010")]

    monkeypatch.setattr(recall, "later_than", meanwhile)
    one = Recall(RealDisk(), tmp_path, kept)
    one.hear(LearnerOrders("order-1", back_to=5))
    assert one.due() is None
    assert (one.answered, one.alarm) == ("", "")
    assert one.due() == LearnerOrders("order-1", back_to=5)


def test_killed_before_it_could_note_that_it_obeyed_it_finds_the_same_checkpoint_again(tmp_path):
    class Dying(RealDisk):
        def write(self, path, data):
            if path.name == NOTE:
                raise DiskTrouble(str(path), "the power is gone")
            super().write(path, data)

    learner = learner_at(tmp_path / "any", MemoryHub(), demos=demonstrations(tmp_path / "demos", 2))
    checkpoints, orders = tmp_path / "checkpoints", LearnerOrders("order-1", back_to=5)
    for step, release in ((10, 4), (20, 8)):
        save(RealDisk(), checkpoints, replace(learner.checkpoint(), step=step, release=release), keep=3)
    dying = Recall(Dying(), tmp_path, checkpoints)
    dying.hear(orders)
    with pytest.raises(DiskTrouble):
        dying.obey(dying.due())
    again = Recall(RealDisk(), tmp_path, checkpoints)
    again.hear(orders)
    again.obey(again.due())
    assert again.due() is None
    assert Recall(RealDisk(), tmp_path, checkpoints).answered == "order-1"
    assert [load(path).release for path in existing(checkpoints)] == [4]
    assert load(checkpoints / "aside-step-0000000020").release == 8


def test_a_damaged_checkpoint_is_not_gone_back_to(tmp_path):
    learner = learner_at(tmp_path / "any", MemoryHub(), demos=demonstrations(tmp_path / "demos", 2))
    checkpoints = tmp_path / "checkpoints"
    for step, release in ((10, 4), (20, 8)):
        save(RealDisk(), checkpoints, replace(learner.checkpoint(), step=step, release=release), keep=3)
    (checkpoints / "step-0000000010" / "state.safetensors").write_bytes(b"spoilt")
    recall = Recall(RealDisk(), tmp_path, checkpoints)
    recall.hear(LearnerOrders("order-1", back_to=5))
    assert recall.due() is None
    assert "step-0000000010" in recall.alarm
    assert latest(checkpoints).release == 8
