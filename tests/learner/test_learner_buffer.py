"""The buffer against a brute-force reading of the episodes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from learner_world import HORIZON, KEYS, ROBOT, SEEING_ROBOT, SPEC, hg_dagger, write_episode

from fleetloop.core.episode import Episode
from fleetloop.core.errors import EpisodeInvalid
from fleetloop.core.spec import CameraSpec
from fleetloop.learner.arrival import Prepared, prepare
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.buffer.columns import Column
from fleetloop.learner.errors import LabelsInvalid


def expected_samples(episodes, algorithm):
    """Every sample as (task, position, named, actions, mask, instruction), written as plainly as possible."""
    for episode in episodes:
        labels = algorithm.label(episode)
        for frame in range(len(episode)):
            if not labels.train[frame]:
                continue
            rows = [min(frame + ahead, int(labels.stop[frame]) - 1) for ahead in range(HORIZON)]
            yield (
                episode.meta.task,
                episode.state("position")[frame].tolist(),
                episode.state("named")[frame].tolist(),
                [episode.action[row].tolist() for row in rows],
                [float(frame + ahead < labels.stop[frame]) for ahead in range(HORIZON)],
                episode.meta.instruction,
            )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(KEYS, min_size=1, max_size=12), min_size=1, max_size=4), st.data())
def test_a_batch_holds_what_the_episodes_say(tmp_path_factory, sources, data):
    directory = tmp_path_factory.mktemp("episodes")
    algorithm, buffer, episodes = hg_dagger(successful_autonomous=True), ExperienceBuffer(SPEC, max_replay=9), []
    for number, letters in enumerate(sources):
        missed = data.draw(st.sets(st.integers(1, len(letters)), max_size=2))
        task, words = f"push/{number % 2}", f"push {number % 3}"
        path = write_episode(directory, number, letters, task=task, instruction=words, missed=sorted(missed))
        episodes.append(Episode.open(path))
        buffer.ingest(prepare(episodes[-1], algorithm, SPEC))
    samples = np.arange(len(buffer), dtype=np.int32)
    batch = buffer.gather(samples, np.zeros(len(samples), np.int64), np.ones(len(samples), bool))
    found = [
        (
            buffer.tasks[next(held.task for held in buffer.episodes if held.first <= sample < held.last)],
            batch.state["position"][sample].tolist(),
            batch.state["named"][sample].tolist(),
            batch.actions[sample].tolist(),
            batch.mask[sample].tolist(),
            batch.instructions[batch.instruction[sample]],
        )
        for sample in samples.tolist()
    ]
    assert found == list(expected_samples(episodes, algorithm))


def test_parts_are_kept_apart(tmp_path):
    buffer, algorithm = ExperienceBuffer(SPEC, max_replay=9, held_out=0.5), hg_dagger()
    for number in range(12):
        path = write_episode(tmp_path, number, "hhh", purpose="demonstration")
        buffer.ingest(prepare(Episode.open(path), algorithm, SPEC))
    buffer.ingest(prepare(Episode.open(write_episode(tmp_path, 99, "pphhp")), algorithm, SPEC))
    offline, online, held_out = (set(buffer.part(0, part).tolist()) for part in Part)
    assert len(offline) + len(held_out) == 36
    assert offline
    assert held_out
    assert len(online) == 2
    assert offline.isdisjoint(online | held_out)


def test_an_episode_is_retired_and_comes_back_with_its_counts(tmp_path):
    buffer = ExperienceBuffer(SPEC, max_replay=3)
    episode = Episode.open(write_episode(tmp_path, 1, "hhhp"))
    assert buffer.ingest(prepare(episode, hg_dagger(), SPEC)) == 3
    buffer.count(np.array([0, 0, 1], np.int32), np.ones(3, bool))
    buffer.retire(episode.meta.id)
    assert not buffer.holds(Part.ONLINE)
    assert buffer.ingest(prepare(episode, hg_dagger(successful_autonomous=True), SPEC)) == 1
    assert buffer.draws(buffer.part(0, Part.ONLINE)).tolist() == [2, 1, 0, 0]


def test_an_outcome_that_is_changed_and_changed_back_keeps_the_counts(tmp_path):
    """What does not train under the second is not new under the third."""
    buffer, path = ExperienceBuffer(SPEC, max_replay=3, held_out=0.0), write_episode(tmp_path, 1, "pphh")
    episode = Episode.open(path)
    assert buffer.ingest(prepare(episode, hg_dagger(), SPEC)) == 2
    for _ in range(3):
        buffer.count(np.arange(2, dtype=np.int32), np.ones(2, bool))
    nothing = replace(prepare(episode, hg_dagger(), SPEC).labels, train=np.zeros(4, bool))
    assert buffer.ingest(replace(prepare(episode, hg_dagger(), SPEC), labels=nothing)) == 0
    assert buffer.ingest(prepare(episode, hg_dagger(), SPEC)) == 0
    assert buffer.size(0, Part.ONLINE) == 0, "they are used up"


def test_replacing_an_episode_leaves_one_copy(tmp_path):
    buffer = ExperienceBuffer(SPEC, max_replay=3)
    episode = Episode.open(write_episode(tmp_path, 1, "hhh"))
    for _ in range(2):
        buffer.ingest(prepare(episode, hg_dagger(), SPEC))
    assert len(buffer.part(0, Part.ONLINE)) == 3


def test_used_up_samples_leave_and_the_others_keep_their_order(tmp_path):
    buffer = ExperienceBuffer(SPEC, max_replay=2)
    buffer.ingest(prepare(Episode.open(write_episode(tmp_path, 1, "hhhh")), hg_dagger(), SPEC))
    buffer.count(np.array([1, 1, 3], np.int32), np.ones(3, bool))
    assert buffer.part(0, Part.ONLINE).tolist() == [0, 2, 3]


def test_covered_means_32_corrections_or_all_of_them(tmp_path):
    buffer = ExperienceBuffer(SPEC, max_replay=9)
    for number, letters in enumerate(["pppp", "p" + "h" * 40, "hhpp"]):
        buffer.ingest(prepare(Episode.open(write_episode(tmp_path, number, letters)), hg_dagger(), SPEC))
    long, short = buffer.episodes[1].id, buffer.episodes[2].id
    draw = lambda first, last: buffer.count(np.arange(first, last, dtype=np.int32), np.ones(last - first, bool))  # noqa: E731
    draw(0, 31)
    assert buffer.coverage.covered() == ()
    draw(31, 32)
    assert buffer.coverage.covered() == (long,)
    draw(40, 41)
    assert buffer.coverage.covered() == (long,)
    draw(41, 42)
    assert buffer.coverage.covered() == (long, short)
    buffer.coverage.announce([long])
    assert buffer.coverage.covered() == (short,)


def test_a_correction_that_was_left_out_by_mistake_is_covered_once_it_is_back(tmp_path):
    buffer = ExperienceBuffer(SPEC, max_replay=9)
    path = write_episode(tmp_path, 1, "pphh")
    buffer.ingest(prepare(Episode.open(path), hg_dagger(), SPEC))
    id = buffer.episodes[0].id
    for told in (False, True):
        buffer.retire(id)
        assert buffer.coverage.ids == []
        buffer.ingest(prepare(Episode.open(path), hg_dagger(), SPEC))
        assert buffer.coverage.ids == ([] if told else [id])
        buffer.coverage.announce([id])


def test_images_are_decoded_at_the_policys_resolution(tmp_path):
    spec = replace(SPEC, cameras=(CameraSpec("eye", 12, 16),), rename={"eye": "top"})
    buffer = ExperienceBuffer(spec, max_replay=9, scratch=tmp_path)
    for number in range(60):  # enough for the column to grow
        path = write_episode(tmp_path / "episodes", number, "ph" * 20, robot=SEEING_ROBOT)
        buffer.ingest(prepare(Episode.open(path), hg_dagger(), spec))
    samples = np.array([0, 5, 19, 1199], np.int32)
    images = buffer.gather(samples, np.zeros(4, np.int64), np.ones(4, bool)).seen["eye"]
    assert images.shape == (4, 12, 16, 3)
    frames = [1, 11, 39, 39]
    np.testing.assert_allclose(images[:, 0, 0, 0], frames, atol=4)


def test_a_broken_image_names_its_camera(tmp_path):
    broken = replace(SEEING_ROBOT, cameras=(CameraSpec("top", 1, 1),))
    path = write_episode(tmp_path, 1, "h", robot=broken)
    data = path.read_bytes()
    start = data.index(b"\xff\xd8")
    path.write_bytes(data[: start + 2] + b"\0" * 100 + data[start + 102 :])
    with pytest.raises(EpisodeInvalid, match=r"image\.top"):
        prepare(Episode.open(path), hg_dagger(), replace(SPEC, cameras=(CameraSpec("top", 1, 1),)))


def test_a_robot_without_ground_truth_leaves_it_unknown(tmp_path):
    plain = replace(ROBOT, state=ROBOT.state[:1])
    buffer = ExperienceBuffer(SPEC, max_replay=9)
    for number, robot in enumerate([plain, ROBOT, plain]):
        path = write_episode(tmp_path, number, "hh", robot=robot)
        buffer.ingest(prepare(Episode.open(path), hg_dagger(), SPEC))
    named = buffer.gather(np.arange(6, dtype=np.int32), np.zeros(6, np.int64), np.ones(6, bool)).state["named"]
    assert named.tolist() == [[-1, -1], [-1, -1], [0, 1], [1, 1], [-1, -1], [-1, -1]]


@pytest.mark.parametrize("most_bytes", [None, 1])
def test_a_label_of_another_shape_than_others_is_unknown(tmp_path, most_bytes, caplog):
    """Policies see no labels: a robot that counts otherwise is one of the fleet all the same."""
    longer = replace(ROBOT, state=(ROBOT.state[0], replace(ROBOT.state[1], shape=(3,))))
    episodes = {}
    buffer = ExperienceBuffer(SPEC, max_replay=9, most_bytes=most_bytes, fetch=lambda id: episodes[id])
    for number, robot in enumerate([ROBOT, longer]):
        other = {"embodiment": "other"} if robot is longer else {}
        episode = Episode.open(write_episode(tmp_path, number, "hh", robot=replace(robot, **other)))
        episodes[episode.meta.id] = episode
        buffer.ingest(prepare(episode, hg_dagger(), SPEC))
    named = buffer.gather(np.arange(4, dtype=np.int32), np.zeros(4, np.int64), np.ones(4, bool)).state["named"]
    assert named.tolist() == [[0, 0], [1, 0], [-1, -1], [-1, -1]]
    assert "named" in caplog.text


def test_names_of_features_are_no_paths(tmp_path):
    """Gymnasium's keys have slashes; and a recorded one may be anything."""
    far = replace(ROBOT, state=(ROBOT.state[0], replace(ROBOT.state[1], name="../out/of")), embodiment="other")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    buffer = ExperienceBuffer(SPEC, max_replay=9, scratch=scratch)
    buffer.ingest(prepare(Episode.open(write_episode(tmp_path / "e", 1, "hh", robot=far)), hg_dagger(), SPEC))
    assert buffer.payload.holds(0)
    assert {path.name for path in tmp_path.iterdir()} == {"scratch", "e"}


def test_labels_that_do_not_fit_are_refused(tmp_path):
    episode = Episode.open(write_episode(tmp_path, 1, "hhh"))
    good = hg_dagger().label(episode)
    wrong = {"labels.train": replace(good, train=good.train[:2]), "labels.stop": replace(good, stop=good.stop * 0)}
    for field, labels in wrong.items():
        with pytest.raises(LabelsInvalid, match=field):
            Prepared(episode, labels)


def test_columns_grow_on_disk_as_in_memory(tmp_path: Path):
    rng = np.random.default_rng(0)
    memory, disk = Column((3,), np.float32), Column((3,), np.float32, tmp_path / "column")
    blocks = [rng.normal(size=(count, 3)).astype(np.float32) for count in (5, 0, 2000, 7000, 1)]
    for block in blocks:
        memory.extend(block)
        disk.extend(block)
    np.testing.assert_array_equal(memory.rows, np.concatenate(blocks))
    np.testing.assert_array_equal(disk.rows, np.concatenate(blocks))
