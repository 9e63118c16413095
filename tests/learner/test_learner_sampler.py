"""The sampler's formula, its settled open points, and that its draws are everybody's."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from learner_world import SPEC, hg_dagger, write_episode
from pydantic import ValidationError

from fleetloop.core.episode import Episode
from fleetloop.learner.arrival import prepare
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.buffer.pool import Pool
from fleetloop.learner.buffer.samples import FACTS, Samples
from fleetloop.learner.options import SamplerOptions
from fleetloop.learner.sampler import AdaptiveSampler, numbers, occurrence

LOSS = st.floats(1e-3, 50)


def recorded(options, offline, online):
    sampler = AdaptiveSampler(options, 0)
    for one, other in zip(offline, online, strict=True):
        sampler.record(np.array([0, 0]), np.array([False, True]), np.array([one, other]))
    return sampler


def buffer_of(directory, episodes, max_replay=1000):
    """`episodes`: (task, purpose, frames)."""
    buffer = ExperienceBuffer(SPEC, max_replay=max_replay)
    for number, (task, purpose, frames) in enumerate(episodes):
        path = write_episode(directory, number, "h" * frames, task=task, purpose=purpose)
        buffer.ingest(prepare(Episode.open(path), hg_dagger(), SPEC))
    return buffer


@given(st.lists(st.tuples(LOSS, LOSS), min_size=1, max_size=30), st.floats(1.01, 3), st.booleans())
def test_the_online_share_is_the_papers_formula(losses, boost, raw):
    options = SamplerOptions(boost=boost, window=20, cold_start_records=1, loss_scale="raw" if raw else "task_mean")
    offline, online = zip(*losses, strict=True)
    share = recorded(options, offline, online).online_shares(["a"])[0]
    l_off, l_on = np.mean(offline[-20:]), np.mean(online[-20:])
    if not raw:
        l_off, l_on = 1.0, l_on / l_off
    plain = 1 / (1 + math.exp(min(l_off - boost * l_on, 700)))
    assert share == pytest.approx(min(max(plain, 0.2), 0.8), abs=1e-6)


@given(st.lists(st.tuples(LOSS, LOSS), min_size=10, max_size=20), st.floats(1e-3, 1e3))
def test_by_default_the_unit_of_the_loss_does_not_matter(losses, factor):
    offline, online = (np.array(values) for values in zip(*losses, strict=True))
    here = recorded(SamplerOptions(), offline, online).online_shares(["a"])
    there = recorded(SamplerOptions(), factor * offline, factor * online).online_shares(["a"])
    np.testing.assert_allclose(here, there, rtol=1e-9)


def test_cold_start_ends_when_both_windows_hold_enough():
    options = SamplerOptions(cold_start_records=5, cold_start_online=0.33)
    sampler = recorded(options, [1.0] * 4, [1.0] * 4)
    assert sampler.online_shares(["a", "b"]).tolist() == [0.33, 0.33]
    sampler.record(np.array([0]), np.array([True]), np.array([1.0]))
    assert sampler.online_shares(["a"])[0] == 0.33
    sampler.record(np.array([0]), np.array([False]), np.array([1.0]))
    assert sampler.online_shares(["a"])[0] == pytest.approx(0.55, abs=0.01)


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9), st.integers(1, 300))
def test_a_slots_numbers_depend_on_seed_step_and_slot_alone(seed, step, slots):
    whole = numbers(seed, step, slots)
    slot = slots // 2
    generator = np.random.Philox(key=np.array([seed, step], np.uint64))
    np.testing.assert_array_equal(np.random.Generator(generator.advance(slot)).random(4), whole[slot])
    np.testing.assert_array_equal(numbers(seed, step, slot), whole[:slot])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=st.integers(1, 9), size=st.integers(1, 70), step=st.integers(0, 1000))
def test_ranks_cut_the_same_global_batch(tmp_path_factory, world, size, step):
    plan = [("a", "online", 9), ("a", "demonstration", 7), ("b", "demonstration", 5)]
    draws = []
    for rank in range(world):  # every rank has a buffer and a sampler of its own
        buffer = buffer_of(tmp_path_factory.mktemp("rank"), plan)
        draws.append((AdaptiveSampler(SamplerOptions(), 7).draw(buffer, step, size), rank))
    whole = draws[0][0]
    parts = [draw.rank(rank, world) for draw, rank in draws]
    for name in ("samples", "task", "online"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("across", "tasks"), [("uniform", [0.5, 0.5]), ("experience", [0.465, 0.535])])
def test_draws_follow_the_shares(tmp_path, across, tasks):
    plan = [("a", "online", 30), ("a", "demonstration", 10), ("b", "online", 3), ("b", "demonstration", 50)]
    buffer = buffer_of(tmp_path, plan, max_replay=10**6)
    sampler = AdaptiveSampler(SamplerOptions(max_replay=10**6, across_tasks=across), 0)
    for _ in range(10):
        sampler.record(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1], bool), np.array([1.0, 3.0, 1.0, 0.1]))
    draw = sampler.draw(buffer, 0, 40_000)
    shares = [draw.online[draw.task == task].mean() for task in (0, 1)]
    np.testing.assert_allclose(np.bincount(draw.task) / len(draw), tasks, atol=0.01)
    np.testing.assert_allclose(shares, sampler.online_shares(["a", "b"]), atol=0.01)
    counts = np.bincount(draw.samples[(draw.task == 0) & draw.online], minlength=30)[:30]
    np.testing.assert_allclose(counts / counts.sum(), 1 / 30, atol=0.01)


def test_an_empty_part_falls_to_the_other_one_of_its_task(tmp_path):
    plan = [("demos", "demonstration", 4), ("fresh", "online", 4), ("none", "online", 0)]
    buffer = buffer_of(tmp_path, [*plan[:2], ("none", "demonstration", 1)])
    buffer.retire(buffer.episodes[2].id)
    draw = AdaptiveSampler(SamplerOptions(), 0).draw(buffer, 0, 500)
    assert len(draw) == 500
    assert set(draw.task.tolist()) == {0, 1}
    assert (draw.online == (draw.task == 1)).all()


def test_what_is_to_be_kept_gets_its_share(tmp_path):
    plan = [("a", "online", 30), ("a", "demonstration", 10), ("kept", "demonstration", 20), ("gone", "online", 5)]
    buffer = buffer_of(tmp_path, plan, max_replay=10**6)
    options = SamplerOptions(
        max_replay=10**6,
        least_offline={"a": 0.7},
        task_weight={"kept": 0.25, "gone": 0.0},
        cold_start_online=0.5,
        across_tasks="uniform",
    )
    sampler = AdaptiveSampler(options, 0)
    draw = sampler.draw(buffer, 0, 40_000)
    np.testing.assert_allclose(np.bincount(draw.task, minlength=3) / len(draw), [0.8, 0.2, 0.0], atol=0.01)
    assert draw.online[draw.task == 0].mean() == pytest.approx(0.3, abs=0.01)
    for _ in range(10):  # the losses ask for more fresh experience; the floor holds
        sampler.record(np.array([0, 0]), np.array([False, True]), np.array([1.0, 9.0]))
    assert sampler.online_shares(["a"])[0] == pytest.approx(0.3)


WEIGHTS = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0, 1e4]), min_size=1, max_size=40).filter(any)


@given(WEIGHTS)
def test_each_sample_is_drawn_as_often_as_its_weight_says(weights):
    samples, count = Samples(None), len(weights)
    samples.extend(np.zeros(count, FACTS), np.array(weights, np.float32), np.zeros(count, np.int32))
    pool = Pool(samples, None)
    pool.extend(0, count)
    even = (np.arange(10_000) + 0.5) / 10_000
    shares = np.bincount(pool.pick(even), minlength=len(weights)) / len(even)
    np.testing.assert_allclose(shares, np.array(weights) / sum(weights), atol=2e-4)
    for extreme in pool.pick(np.array([0.0, np.nextafter(1, 0)])):
        assert weights[extreme] > 0


def test_a_draw_is_the_same_whatever_was_guessed_before(tmp_path):
    buffer = buffer_of(tmp_path, [(task, part, 30) for task in "ab" for part in ("demonstration", "online")], 3)
    guessing, other = (AdaptiveSampler(SamplerOptions(cold_start_records=1), 0) for _ in range(2))
    rng, turned = np.random.default_rng(0), 0
    for step in range(12):
        guess = guessing.draw(buffer, step, 60)
        for sampler in (guessing, other):
            online = np.arange(4) % 2 > 0
            sampler.record(np.array([0, 0, 1, 1]), online, np.where(online, 1 + step % 3, 1.0))
        draw, plain = guessing.draw(buffer, step, 60), other.draw(buffer, step, 60)
        assert draw.samples.tolist() == plain.samples.tolist()
        assert draw.online.tolist() == plain.online.tolist()
        turned += len(guess) == len(draw) and (guess.online != draw.online).any()
        if step % 4 == 3:
            some = rng.choice(len(draw), 20, replace=False)
            buffer.count(draw.samples[some], draw.online[some])
    assert turned


def test_another_label_version_changes_how_often_samples_are_drawn(tmp_path):
    buffer = buffer_of(tmp_path, [("a", "demonstration", 10), ("a", "online", 10)])
    sampler, episode = AdaptiveSampler(SamplerOptions(), 0), buffer.episodes[1].id
    labels = hg_dagger().label(Episode.open(write_episode(tmp_path, 1, "h" * 10, task="a")))
    assert len(np.unique(sampler.draw(buffer, 0, 500).samples)) == 20

    weight = np.where(np.arange(10) == 3, 1, 0).astype(np.float32)
    buffer.relabel(episode, replace(labels, weight=weight))
    draw = sampler.draw(buffer, 0, 500)
    assert np.unique(draw.samples[draw.online]).tolist() == [13]
    assert draw.online.mean() == pytest.approx(0.5, abs=0.1)

    buffer.relabel(episode, replace(labels, weight=np.zeros(10, np.float32)))
    assert not sampler.draw(buffer, 0, 500).online.any()


def test_what_is_never_drawn_keeps_no_episode_from_being_covered(tmp_path):
    buffer = buffer_of(tmp_path, [("a", "online", 4)])
    labels = hg_dagger().label(Episode.open(write_episode(tmp_path, 0, "h" * 4, task="a")))
    buffer.relabel(buffer.episodes[0].id, replace(labels, weight=np.array([0, 1, 1, 0], np.float32)))
    buffer.count(np.array([1, 2], np.int32), np.ones(2, bool))
    assert buffer.coverage.covered() == (buffer.episodes[0].id,)


def test_tasks_without_weight_alone_are_nothing_to_draw_from(tmp_path):
    buffer = buffer_of(tmp_path, [("a", "demonstration", 10)])
    sampler = AdaptiveSampler(SamplerOptions(task_weight={"a": 0.0}), 0)
    assert not sampler.can_draw(buffer)
    assert len(sampler.draw(buffer, 0, 8)) == 0
    assert AdaptiveSampler(SamplerOptions(), 0).can_draw(buffer)


def test_nothing_to_draw_is_an_empty_draw():
    assert len(AdaptiveSampler(SamplerOptions(), 0).draw(ExperienceBuffer(SPEC, max_replay=1), 0, 8)) == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cap=st.integers(1, 6),
    fresh=st.integers(1, 8),
    demos=st.integers(0, 5),
    size=st.integers(1, 60),
    seed=st.integers(0, 100),
)
def test_no_online_frame_is_drawn_more_often_than_allowed(  # noqa: PLR0917
    tmp_path_factory, cap, fresh, demos, size, seed
):
    plan = [("a", "online", fresh)] + [("a", "demonstration", demos)] * (demos > 0)
    buffer = buffer_of(tmp_path_factory.mktemp("cap"), plan, max_replay=cap)
    sampler = AdaptiveSampler(SamplerOptions(max_replay=cap), seed)
    for step in range(30):
        draw = sampler.draw(buffer, step, size)
        if demos:
            assert len(draw) == size
        buffer.count(draw.samples, draw.online)
        assert buffer.draws(np.arange(fresh, dtype=np.int32)).max() <= cap
        assert all(buffer.episode_numbers(draw.samples)[~draw.online] == 1)
    assert len(buffer.part(0, Part.ONLINE)) == np.count_nonzero(buffer.draws(np.arange(fresh, dtype=np.int32)) < cap)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_occurrence_counts_earlier_equals(values):
    expected = [values[:index].count(value) for index, value in enumerate(values)]
    assert occurrence(np.array(values, np.int32)).tolist() == expected


@pytest.mark.parametrize("across", ["experience", "loss", "success"])
def test_tasks_that_need_it_get_more(across):
    sampler = AdaptiveSampler(SamplerOptions(across_tasks=across), 0)
    for _ in range(10):
        sampler.record(np.array([0, 1]), np.array([False, False]), np.array([1.0, 3.0]))
        sampler.note_episode(0, True)
        sampler.note_episode(1, False)
    shares = sampler.task_shares(np.array([1.0, 1.0, 0.0]), np.array([10.0, 30.0, 0.0]))
    assert shares.sum() == pytest.approx(1)
    assert shares[2] == 0
    assert shares[1] > shares[0] >= 0.25


def test_a_restored_sampler_knows_of_successes_whose_episodes_are_gone():
    options = SamplerOptions(across_tasks="success", success_window=4)
    first, second = AdaptiveSampler(options, 0), AdaptiveSampler(options, 0)
    for task, unaided in ((0, True), (0, False), (1, True), (0, True), (0, True), (0, True)):
        first.note_episode(task, unaided)
    first.record(np.array([0, 1]), np.array([False, False]), np.array([1.0, 3.0]))
    second.restore(first.state())
    for sampler in (first, second):
        sampler.note_episode(0, False)
    held = np.ones(2), np.ones(2)
    np.testing.assert_array_equal(first.task_shares(*held), second.task_shares(*held))
    assert first.task_shares(*held)[0] > first.task_shares(*held)[1]


def test_a_restored_sampler_goes_on_as_the_first():
    first = recorded(SamplerOptions(window=4), [1, 2, 3, 4, 5, 6], [2, 2, 2, 9, 9, 9])
    second = AdaptiveSampler(SamplerOptions(window=4), 0)
    second.restore(first.state())
    for sampler in (first, second):
        sampler.record(np.array([0]), np.array([True]), np.array([7.0]))
    np.testing.assert_array_equal(first.losses(1), second.losses(1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"boost": 1.0},
        {"least_online": 0.9},
        {"loss_scale": "log"},
        {"windw": 3},
        {"least_offline": {"a": 1.5}},
        {"task_weight": {"a": -1}},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        SamplerOptions(**wrong)
