"""Pictures of whole episodes are decoded once, as long as there is room."""

from pathlib import Path

import numpy as np
import pytest
from learner_world import SEEING_ROBOT, write_episode

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.learner.buffer.pictures import PictureCache
from fleetloop.learner.relabelling import Archive

FRAMES, HEIGHT, WIDTH = 5, 12, 16
BYTES = FRAMES * HEIGHT * WIDTH * 3  # of an episode


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """The frames whose JPEG was read."""
    frames, read = [], Episode.jpeg

    def jpeg(episode: Episode, camera: str, index: int) -> bytes:
        frames.append(index)
        return read(episode, camera, index)

    monkeypatch.setattr(Episode, "jpeg", jpeg)
    return frames


def archive_of(directory: Path, most_bytes: int, count: int = 3) -> tuple[Archive, list[Episode]]:
    episodes = [
        Episode.open(write_episode(directory / "episodes", number, "h" * FRAMES, robot=SEEING_ROBOT))
        for number in range(count)
    ]
    by_id = {episode.meta.id: episode for episode in episodes}
    archive = Archive(by_id.__getitem__, PictureCache(RealDisk(), directory / "pictures", most_bytes))
    for episode in episodes:
        archive.hold(episode)
    return archive, episodes


def test_the_next_label_version_decodes_nothing_again(tmp_path, decoded):
    archive, episodes = archive_of(tmp_path, 3 * BYTES)
    few, every = np.array([1, 4]), np.arange(FRAMES)
    for _ in range(3):
        for episode in episodes:
            looked = archive[episode.meta.id]
            assert looked.meta == episode.meta
            for frames in (few, every):
                pictures = looked.pictures("top", frames, HEIGHT, WIDTH)
                assert pictures.shape == (len(frames), HEIGHT, WIDTH, 3)
                np.testing.assert_allclose(pictures[:, 0, 0, 0], frames, atol=4)
    assert len(decoded) == 3 * FRAMES


def test_it_keeps_to_its_limit_and_forgets_what_was_not_looked_at_for_the_longest(tmp_path, decoded):
    archive, episodes = archive_of(tmp_path, 2 * BYTES + 1)
    one, two, three = (episode.meta.id for episode in episodes)
    found = []
    for id in (one, two, one, three, one, two):
        before = len(decoded)
        archive[id].pictures("top", np.arange(FRAMES), HEIGHT, WIDTH)
        found.append(len(decoded) > before)
        assert sum(path.stat().st_size for path in (tmp_path / "pictures").iterdir()) <= 2 * BYTES + 1
    assert found == [True, True, False, True, False, True]


def test_what_an_earlier_process_left_is_not_believed(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "half").write_bytes(b"half")
    archive_of(tmp_path, BYTES)
    assert not list((tmp_path / "pictures").iterdir())


def test_what_nobody_is_to_learn_from_is_not_kept_decoded(tmp_path):
    archive, episodes = archive_of(tmp_path, 3 * BYTES, 2)
    for episode in episodes:
        archive[episode.meta.id].pictures("top", np.arange(FRAMES), HEIGHT, WIDTH)
    gone, held = (episode.meta.id for episode in episodes)
    archive.drop(gone)
    assert [path.name.partition("-")[0] for path in (tmp_path / "pictures").iterdir()] == [held]
