"""A learner that was killed goes on exactly as if nothing had happened."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learner_world import (
    MemoryHub,
    advance,
    demonstrations,
    hg_dagger,
    learner_at,
    options,
    tiny_base,
    weights_of,
    write_episode,
)
from metrics_read import rows

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubRefused
from fleetloop.core.outcome import Outcome
from fleetloop.learner.assemble import Surroundings, assemble
from fleetloop.learner.buffer.ledger import carried_over
from fleetloop.learner.checkpoint import latest
from fleetloop.learner.errors import CheckpointInvalid
from fleetloop.learner.options import SamplerOptions
from fleetloop.learner.restart import catch_up, restore


@pytest.mark.parametrize("across", ["uniform", "success"])
def test_killed_and_resumed_it_goes_on_exactly_as_if_nothing_had_happened(tmp_path, across):
    demos = demonstrations(tmp_path / "demos", 4, tasks=("push/left", "push/right"))
    paths = [
        write_episode(tmp_path / "robot", number, "pphhhhp", task=task, outcome=outcome)
        for number, (task, outcome) in enumerate(
            [("push/left", Outcome.SUCCESS), ("push/right", Outcome.TIMEOUT), ("push/new", Outcome.SUCCESS)] * 2
        )
    ]
    settings = {
        "demos": demos,
        "held_out": 0.2,
        "checkpoint_every_s": 1e9,
        "sampler": SamplerOptions(max_replay=60, across_tasks=across, cold_start_records=3, window=8),
    }

    def act(learner, hub, start):
        """Three times 10 steps, with an episode, an exclusion, and a new verdict coming in between."""
        advance(learner, 10)
        hub.add(paths[start])
        hub.add(paths[start + 1])
        advance(learner, 10)
        hub.say(hub.log[-1].ref, exclude=True)
        hub.add(paths[start + 2])
        hub.say(hub.log[-1].ref, outcome=Outcome.FAILURE)
        advance(learner, 10)

    straight_hub, hub = MemoryHub(), MemoryHub()
    straight = learner_at(tmp_path / "straight", straight_hub, **settings)
    act(straight, straight_hub, 0)
    act(straight, straight_hub, 3)

    first = learner_at(tmp_path / "resumed", hub, **settings)
    act(first, hub, 0)
    first.parts.checkpoints.offer(first.checkpoint())
    first.parts.checkpoints.work()
    hub.add(paths[3])  # what comes in after the checkpoint must not be seen before its time
    hub.log.pop()
    advance(first, 7)  # lost with the crash

    checkpoint = latest(tmp_path / "resumed" / "checkpoints")
    fetched = len(hub.fetched)
    clock = Virtual(straight.parts.clock.now() / 2)
    second = learner_at(tmp_path / "resumed", hub, clock=clock, checkpoint=checkpoint, **settings)
    catch_up(second, checkpoint)
    restore(second, checkpoint)
    assert second.steps == 30
    act(second, hub, 3)

    assert len(hub.fetched) == fetched + 3, "the cache was not used"
    assert weights_of(second) == weights_of(straight)
    assert second.intake.epoch == straight.intake.epoch
    np.testing.assert_array_equal(second.parts.buffer.all_draws(), straight.parts.buffer.all_draws())
    curve = [{task: (row["loss_online"], row["loss_offline"]) for task, row in item["tasks"].items()}
             for item in rows(tmp_path / "resumed")]  # fmt: skip
    expected = [{task: (row["loss_online"], row["loss_offline"]) for task, row in item["tasks"].items()}
                for item in rows(tmp_path / "straight")]  # fmt: skip
    assert curve == expected
    assert [row["step"] for row in rows(tmp_path / "resumed")] == list(range(1, 61))
    resumed_first = next(release for release in hub.published if release.step == 55)
    assert resumed_first.parent == checkpoint.release


def test_a_checkpoint_of_another_hub_run_or_policy_is_refused(tmp_path):
    demos, hub = demonstrations(tmp_path / "demos", 2), MemoryHub()
    hub.add(write_episode(tmp_path, 1, "hhh"))
    learner = learner_at(tmp_path / "one", hub, demos=demos)
    advance(learner, 3)
    good = learner.checkpoint()
    again = learner_at(tmp_path / "two", hub, demos=demos, checkpoint=learner.checkpoint())
    catch_up(again, good)
    for field, wrong in {
        "run": replace(good, run="other"),
        "policy": replace(good, config_hash="0"),
        "draws": replace(good, arrays={**good.arrays, "draws": np.zeros(3, np.int32)}),
    }.items():
        with pytest.raises(CheckpointInvalid, match=field):
            restore(again, wrong)
    with pytest.raises(CheckpointInvalid, match=r"cursor.*; if the hub was restored"):
        catch_up(learner_at(tmp_path / "three", MemoryHub(), demos=demos), good)


def test_a_hub_that_lacks_the_checkpoints_release_is_found_before_anything_is_written(tmp_path):
    """Restored from an older state, its numbers would be given anew, and checkpoints that fit pushed out."""
    hub = MemoryHub()
    hub.add(write_episode(tmp_path, 1, "hhh"))
    learner = learner_at(tmp_path / "one", hub)
    advance(learner, 3)
    ahead = replace(learner.checkpoint(), release=len(hub.published) + 1)
    with pytest.raises(CheckpointInvalid, match=r"release: is \d+, and the hub has none of that number; if the hub"):
        catch_up(learner_at(tmp_path / "two", hub, checkpoint=ahead), ahead)


def test_what_can_be_read_no_more_or_again_keeps_it_from_nothing(tmp_path):
    """The hub may find an episode damaged after it was learned from, and a person may restore one."""
    demos, hub = demonstrations(tmp_path / "demos", 2), MemoryHub()
    ids = [hub.add(write_episode(tmp_path, number, "hhhhhh")) for number in range(4)]
    hub.removed = {ids[2]}
    learner = learner_at(tmp_path / "one", hub, demos=demos)
    advance(learner, 12)
    assert len(learner.parts.buffer.episodes) == 5
    hub.removed = {ids[0]}
    again = learner_at(tmp_path / "two", hub, demos=demos, checkpoint=learner.checkpoint())
    catch_up(again, learner.checkpoint())
    restore(again, learner.checkpoint())
    counted, kept = counts(learner), counts(again)
    assert kept.keys() == {*(demo.meta.id for demo in demos), *ids[1:]}
    assert kept.pop(ids[2]) == [0] * 6
    assert kept == {id: counted[id] for id in kept}
    assert any(sum(found) for found in kept.values())
    advance(again, 3)


def test_demonstrations_may_be_added_to_a_run_and_not_taken_from_it(tmp_path):
    demos, hub = demonstrations(tmp_path / "demos", 3), MemoryHub()
    id = hub.add(write_episode(tmp_path, 1, "hhhhhh"))
    learner = learner_at(tmp_path / "one", hub, demos=demos[1:])
    advance(learner, 12)
    more = learner_at(tmp_path / "two", hub, demos=demos, checkpoint=learner.checkpoint())  # the new one comes first
    catch_up(more, learner.checkpoint())
    restore(more, learner.checkpoint())
    counted, kept = counts(learner), counts(more)
    assert not any(kept.pop(demos[0].meta.id))
    assert kept == counted
    assert sum(kept[id]) > 0
    advance(more, 3)
    fewer = learner_at(tmp_path / "three", hub, demos=demos[1:2])
    catch_up(fewer, learner.checkpoint())
    with pytest.raises(CheckpointInvalid, match="of 1 demonstrations, of 2"):
        restore(fewer, learner.checkpoint())


def test_what_the_sampler_knows_stays_with_its_task_when_demonstrations_of_a_new_one_come_first(tmp_path):
    demos, hub = demonstrations(tmp_path / "demos", 2, tasks=("push/new", "push/left")), MemoryHub()
    old = [demo for demo in demos if demo.meta.task == "push/left"]
    for number in range(3):
        hub.add(write_episode(tmp_path, number, "hhhhhh", task="push/right"))
    learner = learner_at(tmp_path / "one", hub, demos=old)
    advance(learner, 40)
    kept = learner.checkpoint()
    more = learner_at(tmp_path / "two", hub, demos=demos, checkpoint=kept)
    catch_up(more, kept)
    restore(more, kept)
    assert more.parts.buffer.tasks == ["push/left", "push/right", "push/new"]
    assert list(more.parts.buffer.tasks)[:2] == list(learner.parts.buffer.tasks)
    shares = (item.parts.sampler.online_shares(["push/left", "push/right"]) for item in (learner, more))
    np.testing.assert_array_equal(*shares)


def counts(learner):
    """By episode, how often its samples were drawn."""
    buffer = learner.parts.buffer
    return {held.id: buffer.draws(np.arange(held.first, held.last)).tolist() for held in buffer.episodes}


LEDGERS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=8)


@given(LEDGERS, LEDGERS)
def test_counts_go_with_their_episodes_whatever_else_comes_or_goes(then, now):
    then, now = (np.array(rows, np.int64).reshape(-1, 2) for rows in (then, now))
    draws = np.concatenate([np.full(count, 100 * place) for place, (_, count) in enumerate(then)] or [[]])
    found, new, gone = carried_over(draws.astype(np.int32), then, now)
    assert len(found) == now[:, 1].sum()
    assert len(now) - new == len(then) - gone
    if np.array_equal(then, now):
        assert (found.tolist(), new, gone) == (draws.tolist(), 0, 0)
    for place in set((found // 100).tolist()) - {0}:
        held = np.repeat(now[:, 0], now[:, 1])[found == 100 * place]
        assert set(held.tolist()) == {then[place, 0]}
        assert len(held) == then[place, 1]


def test_a_second_learner_does_not_take_the_place_of_the_first(tmp_path):
    hub = MemoryHub()
    first = learner_at(tmp_path / "first", hub, demos=demonstrations(tmp_path / "demos", 2), publish_every_steps=5)
    advance(first, 6)
    before, holders = len(hub.published), []
    hub.claim_lease = holders.append
    second = learner_at(tmp_path / "second", hub, demos=demonstrations(tmp_path / "demos", 2))
    with pytest.raises(HubRefused, match=r"releases up to .*second has no checkpoint.*--begin-anew"):
        advance(second, 1)
    assert (len(hub.published), holders) == (before, [])


def test_each_directory_has_its_own_place_at_the_hub_and_keeps_it(tmp_path):
    demos = demonstrations(tmp_path / "demos", 2)

    def holder(place, **changes):
        hub, holders = MemoryHub(), []
        claim = hub.claim_lease
        hub.claim_lease = lambda holder: (holders.append(holder), claim(holder))[1]
        advance(learner_at(tmp_path / place, hub, demos=demos, **changes), 2)
        return holders[0]

    assert holder("one") == holder("one") != holder("two")
    assert holder("three", holder="trainer") == "trainer"


def test_killed_before_its_first_checkpoint_it_publishes_on(tmp_path):
    hub, demos = MemoryHub(), demonstrations(tmp_path / "demos", 2)
    advance(learner_at(tmp_path / "learner", hub, demos=demos, publish_every_steps=5), 6)
    before, later = len(hub.published), Virtual(100.0)
    advance(learner_at(tmp_path / "learner", hub, demos=demos, publish_every_steps=5, clock=later), 6)
    assert len(hub.published) > before


def test_told_to_begin_anew_it_publishes_from_the_base(tmp_path):
    hub, demos = MemoryHub(), demonstrations(tmp_path / "demos", 2)
    advance(learner_at(tmp_path / "lost", hub, demos=demos, publish_every_steps=5), 6)
    around = Surroundings(hub, Virtual(100.0), RealDisk(), tmp_path / "new")
    before = len(hub.published)
    learner = assemble("run", options(), tiny_base(), hg_dagger(), around, demonstrations=demos, begins_anew=True)
    advance(learner, 1)
    assert hub.published[before].parent == 0
