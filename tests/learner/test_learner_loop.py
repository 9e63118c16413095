"""The learner under a virtual clock: what it trains on, when it rests, what goes out."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from learner_world import (
    ROBOT,
    MemoryHub,
    TinyPolicy,
    advance,
    beat,
    demonstrations,
    hg_dagger,
    learner_at,
    tiny_base,
    write_episode,
)
from metrics_read import rows

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import HubRefused, HubUnavailable, ReleaseInvalid
from fleetloop.core.outcome import Outcome
from fleetloop.core.spec import FeatureSpec
from fleetloop.learner.buffer.buffer import Part
from fleetloop.learner.errors import LossInvalid
from fleetloop.learner.options import SamplerOptions


def spy(learner):
    """Counts every episode that is trained on."""
    seen = Counter()
    buffer = learner.parts.buffer
    count = buffer.count

    def watched(samples, online):
        seen.update(buffer.episode_ids(samples))
        count(samples, online)

    buffer.count = watched
    return seen


@pytest.mark.parametrize(("name", "dtype"), [("table", torch.complex64), ("~table", torch.float32)])
def test_a_learner_whose_releases_no_robot_would_take_does_not_start(tmp_path, name, dtype):
    base = tiny_base()
    base.policy.register_buffer(name, torch.zeros(2, dtype=dtype))
    with pytest.raises(ReleaseInvalid, match=f"tensor .*{name}"):
        learner_at(tmp_path, MemoryHub(), base=base)


# ---------------------------------------------------------------------- what is trained on


def test_held_out_and_evaluation_episodes_are_never_trained_on(tmp_path):
    hub = MemoryHub()
    evaluation = hub.add(write_episode(tmp_path, 1, "hhhh", purpose="evaluation"))
    hidden = hub.add(write_episode(tmp_path, 2, "hhhh", purpose="evaluation"))
    hub.log[-1] = replace(hub.log[-1], data={})  # a hub that does not say so
    demos = demonstrations(tmp_path / "demos", 12)
    learner = learner_at(tmp_path / "learner", hub, demos=demos, held_out=0.4, held_out_every_steps=10)
    seen = spy(learner)
    held_out = {held.id for held in learner.parts.buffer.episodes if held.part is Part.HELD_OUT}
    advance(learner, 60)
    assert held_out
    assert set(seen) == {demo.meta.id for demo in demos} - held_out
    assert {evaluation, hidden}.isdisjoint(seen)
    assert evaluation not in hub.fetched
    losses = [row["tasks"]["push/left"]["loss_held_out"] for row in rows(tmp_path / "learner")]
    assert losses[0] == losses[8] > losses[9] > losses[59]


def test_an_excluded_episode_is_drawn_from_no_more_until_it_is_let_in_again(tmp_path):
    hub = MemoryHub()
    good, bad = (hub.add(write_episode(tmp_path, number, "hhhh")) for number in (1, 2))
    learner = learner_at(tmp_path / "learner", hub)
    seen = spy(learner)
    advance(learner, 5)
    assert set(seen) == {good, bad}
    hub.say(bad, exclude=True)
    hub.say(bad, quality=0.1)
    seen.clear()
    advance(learner, 5)
    assert set(seen) == {good}
    hub.say(bad, exclude=False)
    advance(learner, 5)
    assert set(seen) == {good, bad}


def test_a_later_verdict_changes_what_trains(tmp_path):
    hub = MemoryHub()
    id = hub.add(write_episode(tmp_path, 1, "pppp", outcome=Outcome.TIMEOUT))
    learner = learner_at(tmp_path / "learner", hub, algorithm=hg_dagger(successful_autonomous=True))
    beat(learner)
    assert learner.parked
    hub.say(id, outcome=Outcome.SUCCESS)
    advance(learner, 5)
    assert learner.parts.buffer.draws(np.arange(4, dtype=np.int32)).sum() == 5 * 16


def test_what_comes_in_is_visible_at_the_next_step_boundary(tmp_path):
    hub = MemoryHub()
    learner = learner_at(tmp_path / "learner", hub, demos=demonstrations(tmp_path / "demos", 2))
    advance(learner, 4)
    hub.add(write_episode(tmp_path, 1, "hh"))
    hub.add(write_episode(tmp_path, 2, "hh"))
    advance(learner, 3)
    assert learner.intake.epoch == (4, 2)
    hub.add(write_episode(tmp_path, 3, "pp"))
    advance(learner, 1)
    assert learner.intake.epoch == (7, 3)
    assert learner.checkpoint().arrays["epoch"].tolist() == [7, 3]


def test_an_unusable_episode_raises_an_alarm_and_nothing_else(tmp_path):
    hub = MemoryHub()
    foreign = replace(ROBOT, embodiment="other", state=(FeatureSpec("speed", (1,)),))
    wrong = hub.add(write_episode(tmp_path, 1, "hh", robot=foreign))
    gone = hub.add(write_episode(tmp_path, 2, "hh"))
    hub.files.pop(gone)
    hub.add(write_episode(tmp_path, 3, "hh"))
    learner = learner_at(tmp_path / "learner", hub)
    advance(learner, 2)
    assert learner.cursor == 3
    assert learner.parts.feeder.refused == 2
    assert gone in learner.status().alarm
    assert wrong not in {held.id for held in learner.parts.buffer.episodes}


def test_a_refusal_that_says_nothing_of_the_episode_loses_none(tmp_path):
    """A proxy that has enough of us, for example."""

    class Busy(MemoryHub):
        status = 429

        def get_episode(self, id, path):
            if self.status:
                raise HubRefused("http://proxy", "asks for patience", status=self.status)
            super().get_episode(id, path)

    hub = Busy()
    id = hub.add(write_episode(tmp_path, 1, "hhhh"))
    learner = learner_at(tmp_path / "learner", hub)
    with pytest.raises(HubUnavailable, match="asks for patience"):
        learner.parts.feeder.pull()
    hub.status = 0
    advance(learner, 1)
    assert (learner.parts.feeder.refused, learner.cursor) == (0, 1)
    assert learner.parts.buffer.episodes.find(id) is not None


def test_a_torn_cached_copy_is_fetched_again(tmp_path):
    hub = MemoryHub()
    id = hub.add(write_episode(tmp_path, 1, "hh"))
    cache = tmp_path / "learner" / "episodes"
    cache.mkdir(parents=True)
    (cache / f"{id}.arrow").write_bytes(hub.files[id].read_bytes()[:100])
    learner = learner_at(tmp_path / "learner", hub)
    advance(learner, 2)
    assert hub.fetched == [id]


def test_the_inbox_is_bounded(tmp_path):
    hub = MemoryHub()
    for number in range(5):
        hub.add(write_episode(tmp_path, number, "hh"))
    feeder = learner_at(tmp_path / "learner", hub, inbox=2).parts.feeder
    assert [feeder.pull(), feeder.pull()] == [2, 0]
    assert feeder.full
    assert [arrival.seq for arrival in feeder.take()] == [1, 2]
    assert feeder.pull() == 2


def test_a_loss_gone_wrong_names_task_and_episode(tmp_path):
    class Broken(TinyPolicy):
        def loss(self, batch, *, rng):
            return super().loss(batch, rng=rng) / 0

    hub = MemoryHub()
    id = hub.add(write_episode(tmp_path, 1, "hh", task="push/up"))
    base = replace(tiny_base(), policy=Broken())
    with pytest.raises(LossInvalid, match=f"task push/up, episodes {id}"):
        advance(learner_at(tmp_path / "learner", hub, base=base), 1)


# ---------------------------------------------------------------------- pace and rest


def test_it_takes_its_steps_per_clock_second_and_forgives_itself_long_delays(tmp_path):
    learner = learner_at(
        tmp_path / "learner", MemoryHub(), demos=demonstrations(tmp_path / "d", 2), steps_per_s=4.0, most_debt_s=2.0
    )
    clock = learner.parts.clock
    for _ in range(80):
        clock.advance(0.1)
        learner.step(clock.now())
    assert learner.steps == pytest.approx(32, abs=1)
    clock.advance(100)  # a long stall: 400 steps were due
    learner.step(clock.now())
    assert 1.0 < learner.status().lag_s <= 2.0
    while learner.step(clock.now()) <= clock.now():
        pass
    assert learner.steps == pytest.approx(40, abs=1)
    assert learner.figures()["steps_lost"] == pytest.approx(392, abs=2)


def test_a_learner_that_takes_a_step_in_ten_seconds_takes_it(tmp_path):
    demos = demonstrations(tmp_path / "d", 2)
    learner = learner_at(tmp_path / "learner", MemoryHub(), demos=demos, steps_per_s=0.1)
    advance(learner, 3)
    assert learner.parts.clock.now() == pytest.approx(40), "and waits for the fourth"
    assert learner.figures()["steps_lost"] == pytest.approx(0)


def test_online_frames_that_are_used_up_are_drawn_no_more_and_training_goes_on_with_demonstrations(tmp_path):
    hub = MemoryHub()
    hub.add(write_episode(tmp_path, 1, "hhhh"))
    learner = learner_at(
        tmp_path / "learner",
        hub,
        demos=demonstrations(tmp_path / "demos", 2),
        sampler=SamplerOptions(max_replay=10),
    )
    advance(learner, 50)
    online = np.arange(24, 28, dtype=np.int32)
    assert learner.parts.buffer.draws(online).tolist() == [10, 10, 10, 10]
    steps = learner.steps
    advance(learner, 10)
    assert learner.steps == steps + 10
    assert not learner.parked
    assert learner.parts.buffer.draws(online).tolist() == [10, 10, 10, 10]


def test_it_parks_when_nothing_has_come_for_long(tmp_path):
    hub = MemoryHub()
    learner = learner_at(tmp_path / "l", hub, demos=demonstrations(tmp_path / "demos", 2), park_after_s=3.0)
    while learner.parts.clock.now() < 10:
        beat(learner)
    assert learner.parked
    assert learner.steps == pytest.approx(30, abs=1)
    hub.add(write_episode(tmp_path, 1, "pppp"))  # nothing to learn from
    beat(learner)
    assert learner.parked
    hub.add(write_episode(tmp_path, 2, "pphh"))
    advance(learner, 5)


def test_with_no_data_at_all_it_waits_and_still_offers_its_base(tmp_path):
    hub = MemoryHub()
    learner = learner_at(tmp_path / "learner", hub)
    for _ in range(5):
        beat(learner)
    assert learner.parked
    assert [(release.step, release.parent) for release in hub.published] == [(0, 0)]


# ---------------------------------------------------------------------- what goes out


def test_it_publishes_every_so_many_steps_or_seconds(tmp_path):
    demos = demonstrations(tmp_path / "demos", 2)
    hubs = MemoryHub(), MemoryHub()
    advance(learner_at(tmp_path / "steps", hubs[0], demos=demos, publish_every_steps=5), 16)
    advance(learner_at(tmp_path / "seconds", hubs[1], demos=demos, publish_every_s=0.79), 25)
    assert [release.step for release in hubs[0].published] == [0, 5, 10, 15]
    assert [release.step for release in hubs[1].published] == [0, 8, 16, 24]


def test_a_release_carries_buffers_unrounded(tmp_path):
    """Statistics may have other names than ours."""
    hub = MemoryHub()
    advance(learner_at(tmp_path / "learner", hub, demos=demonstrations(tmp_path / "demos", 2)), 1)
    types = {tensor.name: tensor.dtype for tensor in hub.published[0].tensors}
    assert {name for name, dtype in types.items() if dtype == "float32"} == {"mean", "stats.mean"}


def test_a_release_covers_each_correction_once_and_says_what_it_was_trained_on(tmp_path):
    hub = MemoryHub()
    ids = [hub.add(write_episode(tmp_path, number, letters)) for number, letters in enumerate(["phhh", "pppp"])]
    learner = learner_at(
        tmp_path / "learner", hub, demos=demonstrations(tmp_path / "d", 2), publish_every_steps=5, park_after_s=None
    )
    advance(learner, 20)
    ids.append(hub.add(write_episode(tmp_path, 7, "h" * 50)))
    advance(learner, 21)
    covered = [episode for release in hub.published for episode in release.covers]
    assert covered == [ids[0], ids[2]]
    first = next(release for release in hub.published if ids[2] in release.covers)
    assert first.trained_through == 3
    assert hub.published[1].trained_through == 2
    assert learner.release == len(hub.published)
    told = rows(tmp_path / "learner", "release")
    assert [row["version"] for row in told] == [release.version for release in hub.published]


def test_the_way_from_an_episodes_end_to_its_first_batch_is_measured(tmp_path):
    hub, clock = MemoryHub(), Virtual(100.0)
    learner = learner_at(tmp_path / "l", hub, clock=clock, demos=demonstrations(tmp_path / "demos", 2))
    advance(learner, 2)
    id = hub.add(write_episode(tmp_path, 1, "h" * 21))  # its last frame is at 1.0 s
    came = clock.now()
    advance(learner, 5)
    (row,) = rows(tmp_path / "l", "first_draw")
    assert row["episode"] == id
    assert row["clock"] == "virtual"
    assert came - 1.0 <= row["episode_to_batch_s"] <= came - 1.0 + 0.5


def test_what_is_said_of_an_episode_later_is_no_new_episode(tmp_path):
    hub, clock = MemoryHub(), Virtual(100.0)
    learner = learner_at(tmp_path / "l", hub, clock=clock, demos=demonstrations(tmp_path / "demos", 2))
    ids = [hub.add(write_episode(tmp_path, number, "h" * 21)) for number in range(3)]
    hub.add(write_episode(tmp_path, 9, "p" * 21))  # nothing of it trains
    advance(learner, 9)
    for id in ids:
        hub.say(id, outcome=Outcome.FAILURE)
    advance(learner, 9)
    assert sorted(row["episode"] for row in rows(tmp_path / "l", "first_draw")) == ids
    assert len(learner.parts.sampler._successes[0]) == 4
    assert learner.intake.journey._ended == {}


def test_figures_tell_a_share_that_is_wanted_and_can_not_be_drawn(tmp_path):
    hub = MemoryHub()
    hub.add(write_episode(tmp_path, 1, "hhhhhhhh"))
    demos = demonstrations(tmp_path / "demos", 2)
    learner = learner_at(tmp_path / "learner", hub, demos=demos, sampler=SamplerOptions(max_replay=1))
    advance(learner, 30)
    task = rows(tmp_path / "learner")[-1]["tasks"]["push/left"]
    assert task["online_share"] == 0
    assert task["online_share_wanted"] >= 0.2


def test_figures_say_how_it_goes(tmp_path):
    hub = MemoryHub()
    hub.add(write_episode(tmp_path, 1, "hhhhhhhh"))
    learner = learner_at(tmp_path / "learner", hub, demos=demonstrations(tmp_path / "demos", 2))
    advance(learner, 30)
    row = rows(tmp_path / "learner")[-1]
    assert row["replay_ratio"] == pytest.approx(30 * 16 * 0.5 / 8, rel=0.2)
    task = row["tasks"]["push/left"]
    assert (task["samples_online"], task["samples_offline"]) == (8, 24)
    assert 0.2 <= task["online_share"] <= 0.8
    assert 0.2 <= task["online_share_wanted"] <= 0.8
    assert task["loss_online"] > 0
    assert 0 <= row["data_wait"] <= 1
    beat(learner)
    assert hub.statuses[-1].figures["tasks"]["push/left"]["samples_online"] == 8
