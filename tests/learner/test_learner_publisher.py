"""Publishing: latest wins, nothing waits, nothing is announced twice, a stale learner stops."""

from dataclasses import replace

import numpy as np
import pytest
from learner_world import MemoryHub, TinyPolicy, hg_dagger, tiny_base

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import LeaseLost
from fleetloop.learner.assemble import identity
from fleetloop.learner.export import release_weights
from fleetloop.learner.holder import Holder
from fleetloop.learner.publisher import Publisher, Snapshot
from fleetloop.weights.codec import decode
from fleetloop.weights.route import obtain
from fleetloop.weights.signature import Trust, make_key
from fleetloop.weights.verified import Known


def snapshot(step, covers=(), value=None):
    weights = release_weights(TinyPolicy().state_dict())
    if value is not None:
        weights["stats.mean"] = np.full(3, value, np.float32)
    return Snapshot(step, trained_through=step, covers=tuple(covers), weights=weights)


@pytest.fixture
def world():
    hub, clock = MemoryHub(), Virtual()
    return hub, clock, Publisher(hub, clock, identity("run", tiny_base(), hg_dagger()), Holder("me"), parent=0)


def test_a_release_says_what_it_is_and_verifies(world):
    hub, clock, publisher = world
    given = snapshot(25, ["a"])
    publisher.offer(given)
    publisher.work(clock.now())
    release = hub.published[0]
    weights = decode(release, hub.get_blob)
    assert {name: array.tobytes() for name, array in weights.items()} == {
        name: array.tobytes() for name, array in given.weights.items()
    }
    assert (release.step, release.parent, release.trained_through, release.covers) == (25, 0, 25, ("a",))
    assert release.policy == {"name": "tiny", "config": {"width": 16}}
    assert release.policy_spec().hash() == release.spec_hash
    assert [item.version for item in publisher.take_published()] == [1]


def test_a_release_is_signed_by_the_learners_key(world, tmp_path):
    hub, clock, _ = world
    signer = make_key(tmp_path / "release.key")
    publisher = Publisher(hub, clock, identity("run", tiny_base(), hg_dagger()), Holder("me"), signer=signer)
    publisher.offer(snapshot(1))
    publisher.work(clock.now())
    Trust("run", (signer.public,)).check(hub.published[0])


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_never_published_and_the_alarm_says_so(world, odd):
    hub, clock, publisher = world
    publisher.offer(snapshot(1, value=odd))
    publisher.work(clock.now())
    assert hub.published == []
    assert hub.blobs == {}
    assert "stats.mean holds numbers that are not finite" in publisher.alarm
    publisher.work(clock.now())
    assert publisher.alarm, "it goes on saying so"
    publisher.offer(snapshot(2))
    publisher.work(clock.now())
    assert [release.step for release in hub.published] == [2]
    assert publisher.alarm == ""


def test_a_held_out_loss_that_is_not_finite_speaks_against_the_weights(world):
    hub, clock, publisher = world
    publisher.offer(replace(snapshot(1), held_out={"box/walls": float("nan")}))
    publisher.work(clock.now())
    assert hub.published == []
    assert "box/walls" in publisher.alarm


def test_each_release_is_the_parent_of_the_next(world):
    hub, clock, publisher = world
    for step in (1, 2, 3):
        publisher.offer(snapshot(step))
        publisher.work(clock.now())
    assert [(release.version, release.parent) for release in hub.published] == [(1, 0), (2, 1), (3, 2)]


def test_robots_that_have_a_release_fetch_what_changed(world):
    hub, clock, publisher = world
    weights = np.random.default_rng(0).normal(size=20_000).astype(np.float16)
    for step in (1, 2, 3):
        weights = weights + np.float16(1e-3) * (np.arange(20_000) % 8 == 0)
        publisher.offer(Snapshot(step, trained_through=step, covers=(), weights={"w": weights.copy()}))
        publisher.work(clock.now())
    second, third = hub.published[1:]
    assert [way.base for way in third.encodings] == [2, 1]
    have = Known(obtain(second, hub).weights, second.tensors, second.result_hash)
    got = obtain(third, hub, have, 2)
    assert got.weights["w"].tobytes() == weights.tobytes()
    assert got.bytes < weights.nbytes / 2


def test_while_the_hub_is_away_only_the_newest_waits(world):
    hub, clock, publisher = world
    hub.away = True
    for step in (1, 2, 3):
        publisher.offer(snapshot(step))
        publisher.work(clock.now())
        clock.advance(20)
    assert "away" in publisher.alarm
    hub.away = False
    publisher.work(clock.now())
    assert [release.step for release in hub.published] == [3]
    assert publisher.alarm == ""


def test_it_pauses_between_tries_and_the_pause_grows(world):
    hub, clock, publisher = world
    hub.away = True
    publisher.offer(snapshot(1))
    tries = []
    hub.claim_lease = lambda holder: (tries.append(clock.now()), hub._check())
    while clock.now() < 60:
        publisher.work(clock.now())
        clock.advance(0.05)
    gaps = np.diff(tries)
    assert 5 < len(tries) < 20
    assert gaps[0] < 1
    assert gaps.max() <= 10.1
    assert gaps[-1] >= 5


def test_a_lost_answer_makes_no_second_release(world):
    hub, clock, publisher = world
    hub.lose_next_answer = True
    publisher.offer(snapshot(1, ["a"]))
    publisher.work(clock.now())
    assert publisher.take_published() == []
    clock.advance(20)
    publisher.offer(snapshot(2, ["a", "b"]))
    publisher.work(clock.now())
    assert [(release.step, release.parent, release.covers) for release in hub.published] == [
        (1, 0, ("a",)),
        (2, 1, ("b",)),
    ]
    assert [release.version for release in publisher.take_published()] == [1, 2]


def test_a_stale_learner_stops(world):
    hub, clock, publisher = world
    publisher.work(clock.now())
    hub.claim_lease("another")
    publisher.offer(snapshot(1))
    with pytest.raises(LeaseLost):
        publisher.work(clock.now())
    assert hub.published == []


def test_a_stale_learner_that_has_nothing_to_publish_stops_at_the_next_renewal(world):
    hub, clock, publisher = world
    publisher.work(clock.now())
    hub.claim_lease("another")
    clock.advance(60)
    with pytest.raises(LeaseLost):
        publisher.work(clock.now())
