"""Batches that are made ahead of time: the same as those that are made when they are asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learner_world import SPEC, MemoryHub, advance, demonstrations, hg_dagger, learner_at, weights_of, write_episode

from fleetloop.core.episode import Episode
from fleetloop.learner.arrival import prepare
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.loader import Ahead
from fleetloop.learner.options import CacheOptions, SamplerOptions
from fleetloop.learner.sampler import Draw


class AtOnce(Ahead):
    """Gathers as soon as it is asked to expect something, so that a test needs no thread."""

    def expect(self, drawing) -> None:
        super().expect(drawing)
        self.work()


@pytest.mark.parametrize("sampler", [{}, {"max_replay": 5}, {"cold_start_records": 1, "across_tasks": "loss"}], ids=str)
@pytest.mark.parametrize("loader", [AtOnce, None], ids=["ahead", "on time"])
def test_a_run_is_the_same_whatever_is_gathered_ahead_or_dropped(tmp_path, loader, sampler):
    def run(directory: Path, loader, **changes):
        hub = MemoryHub()
        learner = learner_at(directory, hub, demos=demonstrations(tmp_path / "demos", 3), **changes, **said)
        if loader:
            learner.parts = replace(learner.parts, loader=loader(learner.parts.buffer))
        for number in range(6):
            hub.add(write_episode(tmp_path / f"{number}", number, "phhhhp", task=f"push/{number % 2}"))
            advance(learner, 3)
            hub.say(hub.log[0].ref, exclude=number % 2 == 0)
        advance(learner, 10)
        return learner

    said = {"sampler": SamplerOptions(**sampler)}
    usual = run(tmp_path / "usual", None)
    other = run(tmp_path / "other", loader, cache=CacheOptions(decoded_bytes=1500, episode_bytes=4000))
    assert weights_of(usual) == weights_of(other)
    assert usual.parts.buffer.all_draws().tolist() == other.parts.buffer.all_draws().tolist()
    assert other.parts.buffer.payload.loaded > 0


def test_what_was_expected_is_drawn_again_only_if_something_came_in(tmp_path):
    buffer = ExperienceBuffer(SPEC, max_replay=100)
    episodes = [Episode.open(write_episode(tmp_path, number, "hhhh")) for number in range(2)]
    buffer.ingest(prepare(episodes[0], hg_dagger(), SPEC))
    asked = []

    def drawing() -> Draw:
        asked.append(len(buffer))
        samples = buffer.part(0, Part.ONLINE)
        return Draw(samples, np.zeros(len(samples), np.int64), np.ones(len(samples), bool))

    loader = AtOnce(buffer)
    loader.expect(drawing)
    assert len(loader.batch(loader.draw(drawing))) == 4
    assert asked == [4]
    loader.expect(drawing)
    buffer.ingest(prepare(episodes[1], hg_dagger(), SPEC))
    draw = loader.draw(drawing)
    batch, expected = loader.batch(draw), buffer.gather(draw.samples, draw.task, draw.online)
    assert asked == [4, 4, 8]
    np.testing.assert_array_equal(batch.actions, expected.actions)
    np.testing.assert_array_equal(batch.state["position"], expected.state["position"])


@pytest.mark.parametrize("changes", [{}, {"indicator": np.ones(4, np.int8)}], ids=["as it was", "relabelled"])
def test_a_batch_made_ahead_has_the_labels_of_now(tmp_path, changes):
    episode = Episode.open(write_episode(tmp_path, 0, "hhhh"))
    buffer = ExperienceBuffer(SPEC, max_replay=100)
    prepared = prepare(episode, hg_dagger(), SPEC)
    buffer.ingest(prepared)
    samples = buffer.part(0, Part.ONLINE)
    draw = Draw(samples, np.zeros(4, np.int64), np.ones(4, bool))
    loader = AtOnce(buffer)
    loader.expect(lambda: draw)
    buffer.relabel(episode.meta.id, replace(prepared.labels, **changes))
    batch, expected = loader.batch(draw), buffer.gather(samples, draw.task, draw.online)
    assert batch.indicator.tolist() == expected.indicator.tolist()
    np.testing.assert_array_equal(batch.actions, expected.actions)


def test_losses_are_heard_before_anything_moves(tmp_path):
    learner = learner_at(tmp_path / "learner", MemoryHub(), demos=demonstrations(tmp_path, 1))
    samples = learner.parts.buffer.part(0, Part.OFFLINE)
    batch = learner.parts.buffer.gather(samples, np.zeros(12, np.int64), np.zeros(12, bool))
    before, heard = weights_of(learner), []
    trained = learner.parts.trainer.train(
        batch, str, lambda losses: heard.append((losses.tolist(), weights_of(learner), learner.steps))
    )
    assert heard == [(trained.losses.tolist(), before, 0)]
    assert weights_of(learner) != before
