"""RECAP: what it learns from experience, and what it says when it can't."""

import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import torch
from judged import JudgedPolicy, judged_base
from learner_world import (
    ROBOT,
    SOURCES,
    TinyPolicy,
    demonstrations,
    tiny_base,
)
from pydantic import ValidationError

from fleetloop.algorithms.recap import Recap
from fleetloop.algorithms.recap_file import FORMAT, write_judgement
from fleetloop.algorithms.recap_fit import LEAST_FRAMES, ValueFit, fit_value
from fleetloop.algorithms.recap_judgement import blank
from fleetloop.algorithms.recap_lessons import Lessons
from fleetloop.algorithms.recap_options import RecapOptions, TaskOptions
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, Episode, EpisodeMeta
from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.policy import Batch
from fleetloop.core.recording import Recording, seal

OPTIONS = RecapOptions(horizon_s=0.25, value_steps=150, value_rate=1e-2, bins=51)
TASK = "push/left"


def walk(directory, number, distances, outcome, letters=None):
    """An episode whose first coordinate is the distance to the goal, as the value function will have to find out."""
    directory.mkdir(parents=True, exist_ok=True)
    id = new_id(1_700_000_000 + number, np.random.default_rng(number))
    meta = EpisodeMeta(id, "run", "robot-1", "site-1", TASK, "push it", "online", ROBOT, clock="virtual")
    recording = Recording(RealDisk(), directory, meta)
    for tick, distance in enumerate(distances):
        state = {"position": np.array([distance, 0, 0], np.float32), "named": np.zeros(2, np.int64)}
        observation, sent = Observation(state, tick / 20), np.zeros(2, np.float32)
        source = SOURCES[letters[tick]] if letters else Source.POLICY
        recording.add(Frame(tick, tick / 20, tick / 20, observation, sent, sent, source, 1, 0, 0), {})
    recording.finish(Ending(outcome, Judge.SIMULATOR))
    return Episode.open(seal(RealDisk(), recording.path).path)


def lived(directory, count=12):
    """Half of the episodes come nearer and succeed; the others turn away half-way and fail."""
    towards, away = np.linspace(1, 0, 20), np.concatenate([np.linspace(1, 0.6, 8), np.linspace(0.7, 1.8, 22)])
    found = [
        walk(directory, number, *((away, Outcome.FAILURE) if number % 2 else (towards, Outcome.SUCCESS)))
        for number in range(count)
    ]
    return {episode.meta.id: episode for episode in found}


def fitted(episodes, options=OPTIONS):
    return fit_value(blank(judged_base().policy, options), episodes, options)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    episodes = lived(tmp_path_factory.mktemp("lived"))
    return episodes, fitted(episodes).judgement


def test_the_value_function_knows_how_near_success_is(world, tmp_path):
    _, judgement = world
    one = walk(tmp_path, 99, [1.0, 0.5, 0.02, 1.7], Outcome.ABORTED)
    far, half, near, lost = judgement.values(one)
    assert max(lost, far) < half < near


def test_a_long_episode_is_judged_piece_by_piece(world, tmp_path, monkeypatch):
    _, judgement = world
    episode = walk(tmp_path, 99, np.linspace(1, 0, 20), Outcome.SUCCESS)
    whole, looked, look = judgement.values(episode), [], judgement.critic.look
    monkeypatch.setattr(judgement.critic, "look", lambda one, frames: looked.append(len(frames)) or look(one, frames))
    monkeypatch.setattr("fleetloop.algorithms.recap_judgement.MOST_FRAMES", 7)
    np.testing.assert_allclose(judgement.values(episode), whole, atol=1e-5)
    assert looked == [7, 7, 6]


def test_coming_nearer_is_positive_and_turning_away_is_not(world):
    episodes, judgement = world
    good, bad = (
        np.mean([judgement.label(one).indicator for one in episodes.values() if one.meta.outcome is outcome], axis=0)
        for outcome in (Outcome.SUCCESS, Outcome.FAILURE)
    )
    assert good.mean() > 0.6
    assert bad[5:12].mean() < 0.1  # where it turns away
    everything = np.concatenate([judgement.label(one).indicator for one in episodes.values()])
    assert everything.mean() == pytest.approx(OPTIONS.positives, abs=0.05)


def test_every_frame_that_somebody_drove_trains_up_to_the_first_change_of_source(world, tmp_path):
    labels = world[1].label(walk(tmp_path, 99, np.linspace(1, 0, 8), Outcome.FAILURE, "pphh-bpp"))
    assert np.flatnonzero(labels.train).tolist() == [0, 1, 2, 3, 6, 7]
    assert labels.stop[labels.train].tolist() == [2, 2, 4, 4, 8, 8]
    assert labels.indicator[2:4].tolist() == [1, 1]
    assert (labels.version, set(labels.weight)) == (1, {1.0})


def test_corrections_weigh_more_and_demonstrations_do_not(tmp_path):
    algorithm = Recap(OPTIONS.model_copy(update={"intervention_weight": 3.0}))
    algorithm.setup(judged_base().policy)
    assert algorithm.label(walk(tmp_path, 99, np.ones(4), Outcome.FAILURE, "phhp")).weight.tolist() == [1, 3, 3, 1]
    assert set(algorithm.label(demonstrations(tmp_path / "demos", 1)[0]).weight) == {1.0}


def test_a_task_can_have_numbers_of_its_own(tmp_path):
    own = {"horizon_s": 0.5, "c_fail_s": 2.0, "t_max_s": 3.0}
    options = RecapOptions(**{**OPTIONS.model_dump(), "tasks": {TASK: own}, "value_steps": 1})
    scale = fitted(lived(tmp_path, 2), options).judgement.scales[TASK]
    assert (scale.horizon, scale.c_fail, scale.t_max) == (10, 40, 60)


@pytest.mark.parametrize(
    ("outcomes", "missing"), [([Outcome.SUCCESS] * 3, "failures"), ([Outcome.FAILURE, Outcome.ABORTED], "successes")]
)
def test_what_it_can_not_estimate_it_says_and_goes_on_as_behaviour_cloning(tmp_path, outcomes, missing, caplog):
    held = [walk(tmp_path, number, np.linspace(1, 0, 10), one, "hhhppppppp") for number, one in enumerate(outcomes)]
    algorithm = Recap(OPTIONS.model_copy(update={"value_steps": 2, "refresh_steps": 2, "refresh_every": 1}))
    algorithm.setup(judged_base().policy)
    assert algorithm.alarm == ""
    for step in (1, 2):
        refresh = algorithm.refresh({f"{step}{one.meta.id}": one for one in held}, step)
        while not refresh.ready:
            refresh.work()
        algorithm.switch(refresh)
    assert f"no {missing}" in algorithm.alarm
    assert TASK in algorithm.alarm
    assert caplog.text.count(missing) == 1, "it is to be said once"
    assert algorithm.label(held[0]).indicator.tolist() == [1] * 3 + [-1] * 7


def test_a_takeover_is_failure_enough_to_tell_good_from_bad(tmp_path):
    held = [walk(tmp_path, number, np.linspace(1, 0, 10), Outcome.SUCCESS, "pphhhppppp") for number in range(3)]
    found = fitted({one.meta.id: one for one in held}, OPTIONS.model_copy(update={"value_steps": 5}))
    assert found.judgement.scales[TASK].missing == ""
    assert (found.judgement.label(held[0]).indicator >= 0).all()


def test_a_pause_of_whoever_drives_is_no_failure_that_good_could_be_told_from(tmp_path):
    held = [walk(tmp_path, number, np.linspace(1, 0, 10), Outcome.SUCCESS, "hhhh-hhhhh") for number in range(3)]
    found = fitted({one.meta.id: one for one in held}, OPTIONS.model_copy(update={"value_steps": 5}))
    assert found.judgement.scales[TASK].missing == "failures"


def test_an_aborted_episode_teaches_what_led_to_a_takeover_and_nothing_else(tmp_path):
    distances, letters = [1.0] * 6 + [0.0] * 4, "pppppphhhp"
    held = [walk(tmp_path, number, distances, Outcome.ABORTED, letters) for number in range(3)]
    found = fitted({one.meta.id: one for one in held})
    assert found.steps == OPTIONS.value_steps
    assert (found.judgement.values(held[0])[:6] < -0.6).all()
    alone = [walk(tmp_path, number, distances, Outcome.ABORTED) for number in range(3, 6)]
    assert fitted({one.meta.id: one for one in alone}).steps == 0


@pytest.mark.parametrize(("weight", "expected"), [(1.0, 0.4 * 1.2 - 0.2), (4.0, 0.0)])
def test_corrections_count_towards_the_share_of_positives(tmp_path, weight, expected):
    """One frame in six is a person's: a share of 0.2 beside the policy's own, as often as it is drawn."""
    rng = np.random.default_rng(0)
    held = [
        walk(
            tmp_path,
            number,
            rng.uniform(0, 1, 36),
            (Outcome.SUCCESS, Outcome.FAILURE)[number % 2],
            "pppppp" * 5 + "hhhhhh",
        )
        for number in range(8)
    ]
    options = OPTIONS.model_copy(update={"value_steps": 20, "intervention_weight": weight, "positives": 0.4})
    judgement = fitted({one.meta.id: one for one in held}, options).judgement
    own = np.concatenate([judgement.label(one).indicator[:30] for one in held])
    assert (own == 1).mean() == pytest.approx(expected, abs=0.02)


def test_demonstrations_alone_give_a_value_function_that_waits_for_failures(tmp_path):
    demos = demonstrations(tmp_path, 3)
    found = fitted({one.meta.id: one for one in demos}, OPTIONS.model_copy(update={"value_steps": 5}))
    assert found.judgement.scales[TASK].missing == "failures"
    assert (found.judgement.label(demos[0]).indicator == 1).all()


def test_the_next_version_is_repeatable_and_made_in_slices(tmp_path):
    episodes = lived(tmp_path, 4)
    late = walk(tmp_path, 50, np.linspace(1, 0, 7), Outcome.SUCCESS)
    options = OPTIONS.model_copy(update={"value_steps": 20})
    found = []
    for _ in range(2):
        torch.manual_seed(len(found))  # nothing may depend on the process's own generator
        torch.rand(3)
        fit = ValueFit(blank(judged_base().policy, options), episodes, options, 20)
        slices = 0
        while not fit.ready:
            if slices == 10:
                fit.add(late)
            fit.work()
            slices += 1
        found.append({id: labels.indicator.tobytes() for id, labels in fit.labels.items()})
    assert found[0] == found[1]
    assert set(found[0]) == {*episodes, late.meta.id}
    assert slices > 20 + 2 * len(episodes)


@pytest.mark.parametrize("most", [24, 8])
def test_it_is_fitted_to_no_more_frames_than_it_may_be_however_many_episodes_there_are(tmp_path, most):
    towards = np.linspace(1, 0, 20)
    found = [walk(tmp_path, number, towards, Outcome.SUCCESS) for number in range(8)]
    episodes = {episode.meta.id: episode for episode in found}
    options = OPTIONS.model_copy(update={"value_frames": most, "value_steps": 2})
    start = blank(judged_base().policy, options)
    looked = []

    class Counting(type(start.critic)):
        def look(self, episode, which):
            looked.append(len(which))
            return super().look(episode, which)

    start.critic.__class__ = Counting
    fit = fit_value(start, episodes, options)
    few = [count for count in looked if count < len(towards)]  # judged is every frame
    assert few == [LEAST_FRAMES] * (most // LEAST_FRAMES)
    assert set(fit.labels) == set(episodes), "all are judged"


def test_what_it_is_fitted_to_takes_no_more_memory_than_it_may(tmp_path):
    episodes = lived(tmp_path, 8)
    critic, frame_bytes = blank(judged_base().policy, OPTIONS).critic, 3 * 4
    lessons = Lessons(critic, most_bytes=45 * frame_bytes)
    for episode in episodes.values():
        lessons.take(lessons.read(episode, most=20))
        assert sum(lesson.bytes for lesson in lessons.taken) <= 45 * frame_bytes
    assert [lesson.instruction for lesson in lessons.taken] == ["push it"] * 8
    assert {len(lesson.frames) for lesson in lessons.taken} == {5}, "all are thinned alike"
    pairs = zip(episodes.values(), lessons.taken, strict=True)
    expected = np.concatenate([episode.state("position")[lesson.frames] for episode, lesson in pairs])
    np.testing.assert_array_equal(lessons.sights()["position"], expected)
    assert all(lesson.bytes == 0 for lesson in lessons.taken), "they are held twice"


def test_of_more_episodes_than_frames_fit_ends_are_seen_as_well_as_beginnings(tmp_path):
    episodes = lived(tmp_path, 8)
    critic, frame_bytes = blank(judged_base().policy, OPTIONS).critic, 3 * 4
    lessons = Lessons(critic, most_bytes=40 * frame_bytes)
    for _ in range(40):
        for episode in episodes.values():
            lessons.take(lessons.read(episode, most=20))
            assert sum(lesson.bytes for lesson in lessons.taken) <= 40 * frame_bytes
    frames = np.concatenate([lesson.frames for lesson in lessons.taken])
    assert len(frames) >= 20, "half of what fits is kept at least"
    assert len(set(frames.tolist())) >= 10, frames
    assert len(lessons.sights()["position"]) == len(frames)


def test_a_fit_thins_what_does_not_fit_into_memory(tmp_path):
    episodes, drawn = lived(tmp_path, 8), set()
    options = OPTIONS.model_copy(update={"value_bytes": 45 * 12, "value_steps": 20})
    start = blank(judged_base().policy, options)

    class Watched(type(start.critic)):
        def logits(self, sights, instructions, instruction):
            if len(sights["position"]) == options.value_batch:
                drawn.update(map(bytes, sights["position"]))
            return super().logits(sights, instructions, instruction)

    start.critic.__class__ = Watched
    assert set(fit_value(start, episodes, options).labels) == set(episodes), "all are judged"
    assert 0 < len(drawn) <= 45


def test_the_indicator_is_left_out_for_a_share_of_the_samples():
    count, seen = 4000, []

    class Watched(TinyPolicy):
        def loss(self, batch, *, rng):
            seen.append(batch.indicator)
            return super().loss(batch, rng=rng)

    zeros = np.zeros(count, np.int64)
    indicator = (np.arange(count) % 2).astype(np.int8)
    batch = Batch(
        {"position": np.zeros((count, 3), np.float32)}, {}, ("a",), zeros, np.zeros((count, 4, 2), np.float32),
        np.ones((count, 4), np.float32), indicator, zeros, np.ones(count, bool),
    )  # fmt: skip
    algorithm = Recap(OPTIONS)
    for seed in (0, 0, 1):
        assert algorithm.loss(Watched(), batch, rng=torch.Generator().manual_seed(seed)).shape == (count,)
    first, again, other = seen
    assert (first == -1).mean() == pytest.approx(OPTIONS.drop, abs=0.03)
    assert (first[first >= 0] == indicator[first >= 0]).all()
    assert (first == again).all()
    assert (first != other).any()
    assert (batch.indicator == indicator).all()


# ---------------------------------------------------------------------- value: frozen


def test_a_frozen_value_function_labels_as_the_one_that_was_fitted(world, tmp_path):
    episodes, judgement = world
    file = tmp_path / "deep" / "values.safetensors"
    write_judgement(RealDisk(), file, judgement, RecapOptions())
    algorithm = Recap(RecapOptions(value="frozen", value_file=file, bins=51))
    algorithm.setup(JudgedPolicy())
    assert algorithm.version == 1
    assert algorithm.refresh(episodes, 10**6) is None
    for one in episodes.values():
        assert (algorithm.label(one).indicator == judgement.label(one).indicator).all()
    again = Recap(RecapOptions(value="frozen", value_file=file, bins=51))
    again.setup(JudgedPolicy())
    again.load_state_dict(algorithm.state_dict())
    another = fitted(episodes, OPTIONS.model_copy(update={"value_steps": 1})).judgement
    write_judgement(RealDisk(), file, another, RecapOptions())
    again.setup(JudgedPolicy())
    with pytest.raises(ConfigInvalid, match="not what this run began with"):
        again.load_state_dict(algorithm.state_dict())


def test_bad_values_are_named(world, tmp_path):
    with pytest.raises(ValidationError, match="needs value_file"):
        RecapOptions(value="frozen")
    with pytest.raises(ConfigInvalid, match="TinyPolicy offers none"):
        Recap(OPTIONS).setup(tiny_base().policy)
    file = tmp_path / "values"
    algorithm = Recap(RecapOptions(value_file=file, bins=51))
    with pytest.raises(ConfigInvalid, match="holds no value function"):
        algorithm.setup(JudgedPolicy())
    file.write_bytes(b"nonsense")
    with pytest.raises(ConfigInvalid, match="holds no value function"):
        algorithm.setup(JudgedPolicy())
    write_judgement(RealDisk(), file, world[1], RecapOptions(positives=0.3, tasks={"box": TaskOptions(c_fail_s=4)}))
    with pytest.raises(ConfigInvalid, match="no value function of this policy"):
        Recap(RecapOptions(value_file=file, bins=7)).setup(JudgedPolicy())
    with pytest.raises(ConfigInvalid, match=r"options\.positives: is 0\.4, and .* was fitted with 0\.3"):
        Recap(RecapOptions(value="frozen", value_file=file, bins=51)).setup(JudgedPolicy())
    frozen = RecapOptions(value="frozen", value_file=file, bins=51, positives=0.3, tasks={"box": {"c_fail_s": 5}})
    with pytest.raises(ConfigInvalid, match=r"options\.tasks: is .*5\.0.* was fitted with .*4\.0"):
        Recap(frozen).setup(JudgedPolicy())
    Recap(RecapOptions(value_file=file, bins=51)).setup(JudgedPolicy())  # live goes on from it
    safetensors.numpy.save_file({}, file, metadata={FORMAT: "[1]"})
    with pytest.raises(ConfigInvalid, match="holds no value function"):
        algorithm.setup(JudgedPolicy())


def test_its_options_can_be_read_without_torch():
    code = "import sys, fleetloop.algorithms.recap; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
