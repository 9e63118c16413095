"""Against the real LeRobot, in its own environment: `make test-lerobot`. Every frame is compared, both ways."""

import io

import numpy as np
import pytest
from PIL import Image
from recorded import BLIND, SEEING, record

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome
from fleetloop.datasets.foreign import Naming
from fleetloop.datasets.reader import DatasetReader
from fleetloop.datasets.writer import DatasetWriter

pytestmark = pytest.mark.lerobot
WORDS = ("put the cup away", "fetch the cup")


def lerobot_dataset(*given, **named):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset(*given, **named)


def seen(image):
    """LeRobot's (3, height, width) float in [0, 1], as (height, width, 3) 0 to 255."""
    return np.moveaxis(image.numpy(), 0, -1) * 255


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


@pytest.mark.parametrize("video", [False, True])
def test_lerobot_reads_what_we_export(tmp_path, video):
    recorded = tmp_path / "recorded"
    episodes = [
        record(recorded, n, frames=4 + n, instruction=WORDS[n % 2], outcome=list(Outcome)[n % 4]) for n in range(5)
    ]
    root = tmp_path / "dataset"
    DatasetWriter(root, RealDisk(), video=video).append(episodes[:2])
    DatasetWriter(root, RealDisk(), video=video).append(episodes)

    dataset = lerobot_dataset("fleet/cups", root=root)
    assert (dataset.num_episodes, dataset.num_frames) == (5, sum(len(one) for one in episodes))
    assert dataset.meta.robot_type == "two-hands"
    at = 0
    for number, one in enumerate(episodes):
        for index in range(len(one)):
            item = dataset[at]
            assert item["task"] == one.meta.instruction
            assert (item["episode_index"], item["frame_index"], item["index"]) == (number, index, at)
            np.testing.assert_array_equal(item["action"].numpy(), one.action[index])
            np.testing.assert_array_equal(item["observation.state"].numpy()[:6], one.state("hands")[index].reshape(-1))
            last = index == len(one) - 1
            assert bool(item["intervention"]) == (one.source[index] == Source.HUMAN)
            assert bool(item["next.done"]) == last
            assert (
                bool(item["next.success"])
                == float(item["next.reward"])
                == (last and one.meta.outcome is Outcome.SUCCESS)
            )
            assert int(item["fleetloop.release"]) == one.column("release")[index]
            for camera in SEEING.cameras:
                far = np.abs(seen(item[f"observation.images.{camera.name}"]) - pixels(one.jpeg(camera.name, index)))
                assert far.mean() < (5 if video else 0.6), (number, index, camera.name)
            at += 1
    stats = dataset.meta.stats
    actions = np.concatenate([one.action for one in episodes])
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(0), rtol=1e-4)
    assert stats["observation.images.top"]["mean"].shape == (3, 1, 1)


def test_lerobots_policies_take_what_we_export_for_their_inputs(tmp_path):
    from lerobot.utils.feature_utils import dataset_to_policy_features

    DatasetWriter(tmp_path / "dataset", RealDisk(), video=True).append([record(tmp_path / "recorded", 0)])
    found = dataset_to_policy_features(lerobot_dataset("fleet/cups", root=tmp_path / "dataset").meta.features)
    names = {"observation.state", "observation.images.top", "observation.images.wrist", "action"}
    assert set(found) == names
    assert found["observation.state"].shape == (9,)


def test_lerobot_windows_over_what_we_export(tmp_path):
    episodes = [record(tmp_path / "recorded", number, spec=BLIND, frames=5) for number in range(2)]
    DatasetWriter(tmp_path / "dataset", RealDisk(), video=True).append(episodes)
    ahead = {"action": [index / 12.5 for index in range(3)]}
    dataset = lerobot_dataset("fleet/cups", root=tmp_path / "dataset", delta_timestamps=ahead)
    np.testing.assert_array_equal(dataset[1]["action"].numpy(), episodes[0].action[1:4])
    np.testing.assert_array_equal(dataset[4]["action"].numpy(), episodes[0].action[[4, 4, 4]])


@pytest.mark.parametrize("video", [False, True])
def test_an_export_that_lerobot_has_cleaned_up_still_says_who_drove(tmp_path, video):
    from lerobot.datasets.dataset_tools import delete_episodes

    episodes = [record(tmp_path / "recorded", number, frames=5 + number) for number in range(3)]
    DatasetWriter(tmp_path / "dataset", RealDisk(), video=video).append(episodes)
    dataset = lerobot_dataset("fleet/cups", root=tmp_path / "dataset")
    delete_episodes(dataset, [1], output_dir=tmp_path / "cleaned", repo_id="fleet/cleaned")
    back = [Episode.from_bytes(data) for _, data in DatasetReader(tmp_path / "cleaned", Naming()).episodes()]
    for before, after in zip([episodes[0], episodes[2]], back, strict=True):
        assert after.meta.purpose == "online"
        np.testing.assert_array_equal(after.source, before.source)
        np.testing.assert_array_equal(after.column("release"), before.column("release"))
        np.testing.assert_array_equal(after.action, before.action)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_we_import_what_lerobot_wrote(tmp_path, kind):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "observation.reach": {"dtype": "float32", "shape": (2, 2), "names": None},
        "observation.closed": {"dtype": "bool", "shape": (1,), "names": None},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
        "observation.images.top": {"dtype": kind, "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
        "observation.images.far": {"dtype": kind, "shape": (48, 64, 1), "names": None, "info": {"is_depth_map": True}},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    }  # fmt: skip
    root = tmp_path / "theirs"
    made = LeRobotDataset.create(
        "them/cups", fps=10, features=features, root=root, robot_type="arm", use_videos=kind == "video"
    )
    rng = np.random.default_rng(0)
    for episode in range(4):
        for index in range(5 + episode):
            y, x = np.mgrid[:48, :64]
            image = np.stack([x * 3 + 4 * index, y * 4, np.full_like(x, 50 * episode)], -1).astype(np.uint8)
            made.add_frame({
                "observation.state": rng.normal(size=3).astype(np.float32),
                "observation.reach": rng.normal(size=(2, 2)).astype(np.float32),
                "observation.closed": np.array([index % 2 == 0]),
                "action": rng.normal(size=2).astype(np.float32),
                "observation.images.top": image,
                "observation.images.far": rng.integers(0, 5000, (48, 64, 1)).astype(np.uint16),
                "next.success": np.array([episode < 3 and index == 4 + episode]),
                "task": WORDS[episode % 2],
            })  # fmt: skip
        made.save_episode()
    made.finalize()

    theirs = lerobot_dataset("them/cups", root=root)
    ours = [Episode.from_bytes(data) for _, data in DatasetReader(root, Naming({WORDS[0]: "cups/away"})).episodes()]
    assert [len(one) for one in ours] == [5, 6, 7, 8]
    assert [one.meta.outcome for one in ours] == [Outcome.SUCCESS] * 3 + [Outcome.FAILURE]
    assert [one.meta.task for one in ours] == ["cups/away", "imported/fetch-the-cup"] * 2
    assert [camera.name for camera in ours[0].meta.spec.cameras] == ["top"], "depth maps are no pictures"
    assert ours[0].meta.spec.state[0].fields == ("a", "b", "c")
    at = 0
    for one in ours:
        assert one.meta.instruction == theirs[at]["task"]
        for index in range(len(one)):
            item = theirs[at]
            np.testing.assert_array_equal(one.action[index], item["action"].numpy())
            np.testing.assert_array_equal(one.state("state")[index], item["observation.state"].numpy())
            np.testing.assert_array_equal(one.state("reach")[index], item["observation.reach"].numpy())
            assert one.state("closed")[index, 0] == bool(item["observation.closed"])
            assert one.column("clock_s")[index] == pytest.approx(float(item["timestamp"]))
            # Both decode the same video; ours then went through a JPEG.
            far = np.abs(seen(item["observation.images.top"]) - pixels(one.jpeg("top", index)))
            assert far.mean() < 3, (index, far.mean())
            at += 1
    assert at == len(theirs)
