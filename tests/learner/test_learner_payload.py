"""What batches are made of: the cache against a model of one, and batches that don't depend on it."""

import errno
import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_world import (
    SEEING_ROBOT,
    SPEC,
    MemoryHub,
    TinyPolicy,
    advance,
    beat,
    hg_dagger,
    learner_at,
    write_episode,
)

from fleetloop.core.episode import Episode
from fleetloop.core.outcome import Outcome
from fleetloop.core.spec import CameraSpec
from fleetloop.learner.arrival import labelled, prepare
from fleetloop.learner.base import Base
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.buffer.payload import Memory, Payload
from fleetloop.learner.options import CacheOptions

SEES = replace(SPEC, cameras=(CameraSpec("top", 12, 16),))
SIZES = (3, 1, 4, 2, 5, 3)  # samples of each episode
FIRST = np.cumsum([0, *SIZES])
ROW_BYTES = 8 + 4


def rows_of(number: int) -> tuple[int, dict]:
    samples = np.arange(FIRST[number], FIRST[number + 1])
    rows = {"a.state": samples[:, None] * np.ones(2, np.float32), "actions": samples.astype(np.int32)}
    return int(FIRST[number]), {name: values.astype(np.float32) for name, values in rows.items()}


class Model:
    """What is at hand: episodes, the one drawn last at the end, as many rows as there is room for."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, OrderedDict()

    def put(self, number: int) -> None:
        if SIZES[number] > self.most:
            return
        while sum(SIZES[one] for one in self.held) + SIZES[number] > self.most:
            self.held.popitem(last=False)
        self.held[number] = None

    def take(self, numbers) -> None:
        drawn = sorted(set(numbers))
        absent = [number for number in drawn if number not in self.held]
        for number in drawn:
            if number in self.held:
                self.held.move_to_end(number)
        for number in absent:
            self.put(number)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20), st.lists(st.lists(st.integers(0, FIRST[-1] - 1), min_size=1, max_size=9), max_size=12))
def test_what_was_not_drawn_for_the_longest_makes_room_and_comes_back(most, batches):
    payload, model, memory = Payload(rows_of, most_bytes=most * ROW_BYTES), Model(most), Memory()
    payload.admit(int(FIRST[-1]))
    for number in range(3):
        payload.put(number, *rows_of(number))
        model.put(number)
    for batch in batches:
        samples = np.array(batch, np.int32)
        numbers = (np.searchsorted(FIRST, samples, side="right") - 1).astype(np.int32)
        rows = payload.take(samples, numbers, memory)
        model.take(numbers.tolist())
        assert rows["actions"].tolist() == batch
        assert rows["a.state"].tolist() == [[sample, sample] for sample in batch]
        assert {number for number in range(len(SIZES)) if payload.holds(number)} == set(model.held)
        assert payload.held_bytes == sum(SIZES[number] for number in model.held) * ROW_BYTES


def test_a_full_disk_is_a_limit_and_no_trouble(tmp_path, monkeypatch):
    payload, claim = Payload(rows_of, scratch=tmp_path), os.posix_fallocate

    def full(descriptor: int, offset: int, size: int) -> None:
        if size > 70_000:
            raise OSError(errno.ENOSPC, "full")
        claim(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    wide = {number: np.full((4, 1000), number, np.float32) for number in range(6)}
    payload.admit(24)
    for number, values in wide.items():
        payload.put(number, 4 * number, {"actions": values})
    held = [number for number in wide if payload.holds(number)]
    assert 0 < len(held) < 6
    assert all(path.stat().st_size <= 70_000 for path in tmp_path.iterdir())
    samples = np.array([4 * held[0]], np.int32)
    assert payload.take(samples, samples // 4, Memory())["actions"][0, 0] == held[0]


def seeing(directory: Path, most_bytes: int | None) -> tuple[ExperienceBuffer, list[str]]:
    paths = {}
    for number in range(12):
        path = write_episode(directory, number, "ph" * 5, robot=SEEING_ROBOT)
        paths[path.stem] = path
    opened: list[str] = []

    def fetch(id: str) -> Episode:
        opened.append(id)
        return Episode.open(paths[id])

    buffer = ExperienceBuffer(SEES, max_replay=99, scratch=directory, most_bytes=most_bytes, fetch=fetch)
    for path in paths.values():
        buffer.ingest(prepare(Episode.open(path), hg_dagger(), SEES))
    return buffer, opened


@pytest.mark.parametrize("most_bytes", [0, 8000])  # nothing; two or three episodes
def test_a_batch_does_not_depend_on_what_is_at_hand(tmp_path, most_bytes):
    whole, untouched = seeing(tmp_path / "whole", None)
    small, opened = seeing(tmp_path / "small", most_bytes)
    rng, memory = np.random.default_rng(0), Memory()
    for _ in range(5):
        samples = rng.integers(len(whole), size=16).astype(np.int32)
        about = (samples, np.zeros(16, np.int64), np.ones(16, bool))
        one, other = whole.gather(*about), small.gather(*about, memory)
        for name in ("actions", "mask", "indicator", "instruction"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.seen["top"], other.seen["top"])
        assert all(np.array_equal(one.state[name], other.state[name]) for name in one.state)
    assert opened
    assert not untouched
    assert small.payload.held_bytes <= most_bytes


def test_nobody_looks_again_at_an_episode_that_is_only_judged_anew(tmp_path):
    buffer, opened = seeing(tmp_path, None)
    path = next(tmp_path.glob("*.arrow"))
    buffer.ingest(labelled(Episode.open(path), hg_dagger(), SEES))
    samples = buffer.part(0, Part.ONLINE)
    batch = buffer.gather(samples, np.zeros(len(samples), np.int64), np.ones(len(samples), bool))
    assert not opened
    assert buffer.payload.holds(len(buffer.episodes) - 1)
    assert len(batch.seen["top"]) == 60
    np.testing.assert_allclose(batch.seen["top"][-5:, 0, 0, 0], [1, 3, 5, 7, 9], atol=4)


def test_frames_that_train_only_since_a_later_word_are_looked_at_when_drawn(tmp_path):
    path = write_episode(tmp_path, 1, "pphh", robot=SEEING_ROBOT, outcome=Outcome.FAILURE)
    algorithm = hg_dagger(successful_autonomous=True)
    buffer = ExperienceBuffer(SEES, max_replay=9, fetch=lambda id: Episode.open(path))
    episode = Episode.open(path)
    buffer.ingest(prepare(episode, algorithm, SEES))
    won = replace(episode.meta, ending=replace(episode.meta.ending, outcome=Outcome.SUCCESS))
    buffer.ingest(labelled(Episode(episode._batch, won), hg_dagger(), SEES))
    assert buffer.payload.loaded == 0
    episode = Episode(episode._batch, replace(won, id=episode.meta.id))
    everything = replace(hg_dagger().label(episode), train=np.ones(4, bool), stop=np.full(4, 4, np.int32))
    buffer.ingest(replace(labelled(episode, hg_dagger(), SEES), labels=everything))
    samples = buffer.part(0, Part.ONLINE)
    batch = buffer.gather(samples, np.zeros(4, np.int64), np.ones(4, bool))
    np.testing.assert_allclose(batch.seen["top"][:, 0, 0, 0], [0, 1, 2, 3], atol=4)


# ---------------------------------------------------------------------- in a learner


class SeeingPolicy(TinyPolicy):
    """Its frames have pictures, at which it does not look."""

    def __init__(self) -> None:
        super().__init__(spec=SEES)


def forgetful(directory: Path, hub: MemoryHub, demos: list[Episode]):
    """A learner that has one episode of the hub, and keeps nothing of it."""
    learner = learner_at(
        directory,
        hub,
        demos=demos,
        base=Base(SeeingPolicy(), "tiny", SEEING_ROBOT),
        cache=CacheOptions(decoded_bytes=0, episode_bytes=0),
    )
    advance(learner, 2)
    return learner


def test_it_waits_for_a_hub_that_is_away_only_if_it_needs_it(tmp_path):
    hub = MemoryHub()
    demos = [Episode.open(write_episode(tmp_path, 9, "hhhh", purpose="demonstration", robot=SEEING_ROBOT))]
    for number in range(2):  # one file is kept
        hub.add(write_episode(tmp_path, number, "hhhh", robot=SEEING_ROBOT))
    learner = forgetful(tmp_path / "learner", hub, demos)
    hub.away, steps = True, learner.steps
    for _ in range(20):
        beat(learner, pull=False)
    assert learner.steps - steps < 20
    assert "waits for an episode" in learner.status().alarm
    hub.away, steps = False, learner.steps
    for _ in range(20):
        beat(learner)
    assert learner.steps - steps >= 10
    assert "waits" not in learner.status().alarm


def test_an_episode_that_can_not_be_read_any_more_is_left_behind(tmp_path):
    hub = MemoryHub()
    demos = [Episode.open(write_episode(tmp_path, 9, "hhhh", purpose="demonstration", robot=SEEING_ROBOT))]
    gone, kept = (hub.add(write_episode(tmp_path, number, "hhhh", robot=SEEING_ROBOT)) for number in range(2))
    learner = forgetful(tmp_path / "learner", hub, demos)
    del hub.files[gone]
    advance(learner, 20)
    assert gone in learner.status().alarm
    buffer = learner.parts.buffer
    assert buffer.episode_ids(buffer.part(0, Part.ONLINE)) == [kept]


def test_decoded_images_that_wait_are_bounded_too(tmp_path):
    hub = MemoryHub()
    for number in range(6):
        hub.add(write_episode(tmp_path, number, "hhhh", robot=SEEING_ROBOT))
    one = 4 * 12 * 16 * 3
    base = Base(SeeingPolicy(), "tiny", SEEING_ROBOT)
    learner = learner_at(tmp_path / "learner", hub, base=base, inbox_bytes=2 * one)
    feeder, dealt = learner.parts.feeder, []
    for _ in range(4):
        dealt.append(feeder.pull())
        assert feeder.full == (dealt[-1] == 2)
        assert feeder.pull() == 0
        learner.admit(feeder.take(), 0.0)
    assert dealt == [2, 2, 2, 0]
    assert learner.cursor == 6


def test_what_waits_may_be_taken_while_somebody_asks_whether_there_is_room(tmp_path, monkeypatch):
    """The training thread takes, the feeder's asks: no look at what waits may trip over the other's."""
    hub = MemoryHub()
    for number in range(3):
        hub.add(write_episode(tmp_path, number, "hhhh", robot=SEEING_ROBOT))
    learner = learner_at(tmp_path / "learner", hub, base=Base(SeeingPolicy(), "tiny", SEEING_ROBOT))
    feeder, taken = learner.parts.feeder, []

    class TakenMeanwhile:
        """The other thread comes in between whenever this one is looked at."""

        def __init__(self, event):
            self.seq = event.seq

        @property
        def prepared(self):
            taken.extend(feeder.take())

    monkeypatch.setattr(feeder, "_arrival", TakenMeanwhile)
    assert feeder.pull() == 3
    assert not feeder.full
    assert [arrival.seq for arrival in [*taken, *feeder.take()]] == [1, 2, 3]
