"""What goes out as a LeRobotDataset comes back as it was."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image
from recorded import BLIND, SEEING, column_names, record

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import DiskTrouble, EpisodeInvalid, SpecMismatch
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome
from fleetloop.core.spec import CameraSpec, FeatureSpec
from fleetloop.datasets.batch import MOST
from fleetloop.datasets.errors import DatasetInvalid
from fleetloop.datasets.foreign import Naming
from fleetloop.datasets.reader import DatasetReader
from fleetloop.datasets.writer import DatasetWriter

OUTCOMES = (Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.ABORTED)


def export(root, episodes, *, video=False, disk=None):
    return DatasetWriter(root, disk or RealDisk(), video=video).append(episodes)


AS_IT_IS = Naming()


def imported(root, naming=AS_IT_IS):
    return {id: Episode.from_bytes(data) for id, data in DatasetReader(root, naming).episodes()}


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.fixture
def episodes(tmp_path):
    words = ("put the cup away", "fetch the cup")
    return [
        record(
            tmp_path / "recorded", number, frames=3 + number, outcome=OUTCOMES[number], instruction=words[number % 2]
        )
        for number in range(4)
    ]


@pytest.mark.parametrize("video", [False, True])
def test_everything_comes_back_as_it_was(tmp_path, episodes, video):
    root = tmp_path / "dataset"
    assert export(root, episodes, video=video) == 4
    back = imported(root)
    assert [one.meta for one in episodes] == [one.meta for one in back.values()]
    for one in episodes:
        again = back[one.meta.id]
        for name in column_names(one):
            if not name.startswith("image."):
                np.testing.assert_array_equal(again.column(name), one.column(name), err_msg=name)
        for camera in SEEING.cameras:
            for index in range(len(one)):
                before, after = one.jpeg(camera.name, index), again.jpeg(camera.name, index)
                if video:
                    assert np.abs(pixels(before) - pixels(after)).mean() < 5
                else:
                    assert before == after


def test_lerobots_names_say_who_drove_and_how_it_ended(tmp_path, episodes):
    export(tmp_path / "dataset", episodes[:2])
    table = pq.read_table(tmp_path / "dataset/data/chunk-000/file-000.parquet")
    assert table["intervention"].to_pylist() == [False, False, True, False, False, True, True]
    assert table["next.done"].to_pylist() == [False, False, True, False, False, False, True]
    assert table["next.success"].to_pylist() == [False, False, True] + [False] * 4
    assert table["next.reward"].to_pylist() == [0, 0, 1] + [0] * 4
    assert table["timestamp"].to_pylist() == pytest.approx([0, 0.08, 0.16, 0, 0.08, 0.16, 0.24])
    assert table["index"].to_pylist() == list(range(7))
    info = json.loads((tmp_path / "dataset/meta/info.json").read_bytes())
    names = info["features"]["observation.state"]["names"]
    assert names == [f"hands.{hand}.{what}" for hand in (0, 1) for what in ("x", "y", "grip")] + [
        "held.0", "force.0", "force.1",
    ]  # fmt: skip
    # What only a simulator knows may be no policy's input.
    assert not any("named" in name for name in info["features"] if not name.startswith("fleetloop."))


def test_a_second_export_adds_what_is_new(tmp_path, episodes):
    root = tmp_path / "dataset"
    assert export(root, episodes[:2]) == 2
    before = (root / "data/chunk-000/file-000.parquet").read_bytes()
    assert export(root, episodes) == 2
    assert export(root, episodes) == 0
    assert (root / "data/chunk-000/file-000.parquet").read_bytes() == before
    assert list(imported(root)) == [one.meta.id for one in episodes]
    export(tmp_path / "at once", episodes)
    step, once = (json.loads((place / "meta/stats.json").read_bytes()) for place in (root, tmp_path / "at once"))
    for name, one in once.items():
        for kind in ("min", "max", "mean", "std", "count"):
            np.testing.assert_allclose(step[name][kind], one[kind], rtol=1e-6, err_msg=f"{name} {kind}")


def test_files_stay_as_small_as_the_data_set_says(tmp_path, monkeypatch):
    """What reads a row group at once, as Hugging Face's `datasets` and pyarrow do, can't read 2 GB of images in one."""
    monkeypatch.setattr("fleetloop.datasets.batch.MOST", MOST // 100)  # 1 MB of data, 2 MB of each video
    spec = replace(SEEING, cameras=SEEING.cameras[:1])
    episodes = [record(tmp_path / "recorded", number, padding=300_000, frames=2, spec=spec) for number in range(2)]
    assert export(tmp_path / "dataset", episodes) == 2
    assert len(list((tmp_path / "dataset").glob("data/*/*.parquet"))) == 2
    for one, again in zip(episodes, imported(tmp_path / "dataset").values(), strict=True):
        assert again.jpeg("top", 1) == one.jpeg("top", 1)
    assert export(tmp_path / "videos", episodes, video=True) == 2
    assert len(list((tmp_path / "videos").glob("data/*/*.parquet"))) == 1, "they hold no images"


def test_an_episode_is_a_row_group(tmp_path, episodes):
    root = tmp_path / "dataset"
    export(root, episodes)
    file = pq.ParquetFile(root / "data/chunk-000/file-000.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [3, 4, 5, 6]


def test_statistics_are_those_of_all_frames(tmp_path, episodes):
    export(tmp_path / "dataset", episodes)
    stats = json.loads((tmp_path / "dataset/meta/stats.json").read_bytes())
    actions = np.concatenate([one.action for one in episodes]).astype(float)
    for kind, value in (
        ("min", actions.min(0)),
        ("max", actions.max(0)),
        ("mean", actions.mean(0)),
        ("std", actions.std(0)),
    ):
        np.testing.assert_allclose(stats["action"][kind], value, rtol=1e-6)
    assert stats["action"]["count"] == [len(actions)]
    assert np.shape(stats["observation.images.top"]["mean"]) == (3, 1, 1)
    assert 0 <= np.min(stats["observation.images.top"]["min"]) < np.max(stats["observation.images.top"]["max"]) <= 1


class FailsAt(RealDisk):
    """Refuses its n-th write or move, as a disk does that is full, and every one after it."""

    def __init__(self, number):
        self.left = number

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise DiskTrouble("dataset", "the disk is full")

    def write(self, path, data):
        self._count()
        super().write(path, data)

    def rename(self, source, target):
        self._count()
        super().rename(source, target)

    def remove(self, path):
        self._count()
        super().remove(path)


def test_an_export_that_was_cut_short_anywhere_is_finished_by_the_next(tmp_path):
    episodes = [record(tmp_path / "recorded", number, spec=BLIND, frames=3) for number in range(3)]
    export(tmp_path / "whole", episodes[:1])
    export(tmp_path / "whole", episodes[1:])
    number, cut = 0, True
    while cut:
        root = tmp_path / f"cut-{number}"
        export(root, episodes[:1])
        try:
            export(root, episodes, disk=FailsAt(number))
            cut = False
        except DiskTrouble:
            export(root, episodes)
        for name in ("data/chunk-000/file-001.parquet", "meta/info.json", "meta/tasks.parquet"):
            assert (root / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (number, name)
        assert list(imported(root)) == [one.meta.id for one in episodes]
        assert len(list(root.glob("data/*/*.parquet"))) == 2
        number += 1
    assert number > 10


# ---------------------------------------------------------------------- somebody else's


def as_rewritten(root):
    """As LeRobot's own tools leave an export of ours: the columns are there, the metadata is not."""
    for file in root.glob("meta/episodes/*/*.parquet"):
        without(file, lambda name: name == "fleetloop.meta")


def as_anothers(root):
    """Without what only we write."""
    as_rewritten(root)
    for file in root.glob("data/*/*.parquet"):
        without(file, lambda name: name.startswith("fleetloop.") or name == "intervention")


def without(file, unwanted):
    table = pq.read_table(file)
    pq.write_table(table.drop_columns([name for name in table.column_names if unwanted(name)]), file)


def test_anothers_data_set_becomes_demonstrations(tmp_path, episodes):
    root = tmp_path / "dataset"
    export(root, episodes, video=True)
    as_anothers(root)
    features = {"observation.state": "joints", "observation.images.top": "head"}
    back = imported(root, Naming({"fetch the cup": "cups/fetch"}, features, robot="arm-1", site="lab"))
    assert len(back) == 4
    for before, after in zip(episodes, back.values(), strict=True):
        assert after.meta.task == (
            "cups/fetch" if before.meta.instruction == "fetch the cup" else "imported/put-the-cup-away"
        )
        assert (after.meta.robot, after.meta.site, after.meta.purpose) == ("arm-1", "lab", "demonstration")
        assert after.meta.outcome is (Outcome.SUCCESS if before.meta.outcome is Outcome.SUCCESS else Outcome.FAILURE)
        assert [feature.name for feature in after.meta.spec.state] == ["joints"]
        assert [camera.name for camera in after.meta.spec.cameras] == ["head", "wrist"]
        np.testing.assert_array_equal(after.action, before.action)
        np.testing.assert_array_equal(after.state("joints")[:, :6], before.state("hands").reshape(-1, 6))
        for index in range(len(after)):
            assert np.abs(pixels(after.jpeg("head", index)) - pixels(before.jpeg("top", index))).mean() < 5
    assert list(imported(root)) == list(back), "the same content has the same ids"


def test_what_the_policy_did_is_nobodys_demonstration(tmp_path, episodes):
    """Else behaviour cloning and HG-DAgger would clone its mistakes."""
    root = tmp_path / "dataset"
    export(root, episodes)
    as_rewritten(root)
    for before, after in zip(episodes, imported(root).values(), strict=True):
        assert after.meta.purpose == "online"
        for name in ("source", "release", "tick", "clock_s", "chunk_index"):
            np.testing.assert_array_equal(after.column(name), before.column(name), err_msg=name)


def test_an_evaluation_stays_one_whoever_rewrites_it(tmp_path):
    """It never enters a buffer."""
    purposes = ["evaluation", "demonstration", "online"]
    episodes = [record(tmp_path / "recorded", number, purpose=purpose) for number, purpose in enumerate(purposes)]
    export(tmp_path / "dataset", episodes)
    as_rewritten(tmp_path / "dataset")
    assert [one.meta.purpose for one in imported(tmp_path / "dataset").values()] == purposes


def test_anothers_interventions_are_a_persons_and_the_rest_the_policys(tmp_path, episodes):
    root = tmp_path / "dataset"
    export(root, episodes)
    as_rewritten(root)
    for file in root.glob("data/*/*.parquet"):
        without(file, lambda name: name.startswith("fleetloop."))
    for after in imported(root).values():
        assert after.meta.purpose == "online"
        human = after.source == Source.HUMAN
        assert np.flatnonzero(human).tolist() == [index for index in (2, 3) if index < len(after)]
        assert (after.source[~human] == Source.POLICY).all()


def test_what_a_person_drove_throughout_is_a_demonstration(tmp_path, episodes):
    root = tmp_path / "dataset"
    export(root, episodes)
    as_rewritten(root)
    for file in root.glob("data/*/*.parquet"):
        without(file, lambda name: name == "fleetloop.purpose")
        table = pq.read_table(file)
        human = pa.array([Source.HUMAN] * len(table), pa.int8())
        pq.write_table(table.set_column(table.column_names.index("fleetloop.source"), "fleetloop.source", human), file)
    assert {one.meta.purpose for one in imported(root).values()} == {"demonstration"}


@pytest.mark.parametrize(
    "names", [["x", "y"], {"motors": ["x", "y"]}, {"left": ["x"], "right": ["y"]}, {"y": 1, "x": 0}]
)
def test_what_entries_are_called_comes_in_however_it_is_said(tmp_path, episodes, names):
    root = tmp_path / "dataset"
    export(root, episodes[:1])
    as_anothers(root)
    features = json.loads((root / "meta/info.json").read_bytes())["features"]
    features["action"]["names"] = names
    _edit(root, features=features)
    (one,) = imported(root).values()
    assert one.meta.spec.action.fields == ("x", "y")


def test_the_same_motion_before_another_background_is_another_episode(tmp_path, episodes):
    root = tmp_path / "dataset"
    export(root, episodes[:2])
    as_anothers(root)
    first, _ = imported(root)
    (file,) = root.glob("data/*/*.parquet")
    (rows,) = root.glob("meta/episodes/*/*.parquet")
    table, about = pq.read_table(file), pq.read_table(rows)
    one, two = (table.filter(pc.field("episode_index") == number) for number in (0, 1))
    painted = one.slice(0, len(one))
    for name, column in (
        ("episode_index", pa.array([1] * len(one))),
        ("observation.images.top", two["observation.images.top"].slice(0, len(one))),
    ):
        painted = painted.set_column(painted.column_names.index(name), name, column)
    pq.write_table(pa.concat_tables([one, painted]), file)
    lengths = pa.array([len(one)] * 2)
    pq.write_table(about.set_column(about.column_names.index("length"), "length", lengths), rows)

    back = imported(root)
    again, other = back
    assert again == first, "the ids of what was imported before stay"
    assert list(imported(root)) == [first, other]
    before, after = back.values()
    assert before.jpeg("top", 0) != after.jpeg("top", 0)
    np.testing.assert_array_equal(before.action, after.action)


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda root: (root / "meta/info.json").unlink(), "can be read|info.json"),
        (lambda root: (root / "meta/info.json").write_text("{"), "can be read"),
        (lambda root: (root / "meta/tasks.parquet").write_bytes(b"PAR1"), "can be read"),
        (lambda root: (root / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1"), "episode 0"),
        (lambda root: (root / "data/chunk-000/file-000.parquet").unlink(), "episode 0"),
        (
            lambda root: (root / "videos/observation.images.top/chunk-000/file-000.mp4").write_bytes(b"no video"),
            "video",
        ),
        (lambda root: _edit(root, codebase_version="v2.1"), "version v2.1"),
        (lambda root: _edit(root, features=[]), "can be read"),
        (lambda root: _edit(root, data_path=7), "episode 0"),
        (lambda root: _edit(root, data_path="data/{}.parquet"), "episode 0"),
        (lambda root: _put(root, "meta/tasks.parquet", task_index=None), "can be read"),
        (lambda root: _put(root, "meta/tasks.parquet", **{"__index_level_0__": None, "task": None}), "can be read"),
        (lambda root: _put(root, FRAMES, **{"fleetloop.purpose": 7, "action": None}), "episode 0"),
    ],
)
def test_a_damaged_data_set_is_refused_by_name(tmp_path, episodes, harm, named):
    root = tmp_path / "dataset"
    export(root, episodes[:2], video=True)
    harm(root)
    with pytest.raises(DatasetInvalid, match=named):
        imported(root)


def _edit(root, **changes):
    file = root / "meta/info.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **changes}))


FRAMES = "data/chunk-000/file-000.parquet"


def _put(root, file, **columns):
    """One value in all of a column; None takes the column out."""
    table = pq.read_table(root / file)
    for name, value in columns.items():
        table = table.drop_columns([name] if name in table.column_names else [])
        if value is not None:
            table = table.append_column(name, pa.array([value] * len(table)))
    pq.write_table(table, root / file)


def test_a_purpose_that_nobody_knows_is_refused(tmp_path, episodes):
    export(tmp_path / "dataset", episodes[:1])
    as_anothers(tmp_path / "dataset")
    _put(tmp_path / "dataset", FRAMES, **{"fleetloop.purpose": 7})
    with pytest.raises(DatasetInvalid, match="episode 0"):
        imported(tmp_path / "dataset")


@pytest.mark.parametrize("key", ["observation.state", "action"])
def test_numbers_that_are_missing_are_not_made_up(tmp_path, episodes, key):
    export(tmp_path / "dataset", episodes[:1])
    as_anothers(tmp_path / "dataset")
    table = pq.read_table(tmp_path / "dataset" / FRAMES)
    values = table[key].to_pylist()
    values[1] = [None, *values[1][1:]] if isinstance(values[1], list) else None
    place, kind = table.column_names.index(key), table[key].type
    pq.write_table(table.set_column(place, key, pa.array(values, kind)), tmp_path / "dataset" / FRAMES)
    with pytest.raises(DatasetInvalid, match=r"1 of \d+ \w+ are missing"):
        imported(tmp_path / "dataset")


def test_two_columns_of_one_name_are_refused(tmp_path, episodes):
    export(tmp_path / "dataset", episodes[:1])
    as_anothers(tmp_path / "dataset")
    info = json.loads((tmp_path / "dataset/meta/info.json").read_bytes())
    info["features"]["observation.more"] = info["features"]["observation.state"]
    _edit(tmp_path / "dataset", **info)
    with pytest.raises(SpecMismatch, match=r"'state': is the name of 2 features: observation.state and observation.mo"):
        imported(tmp_path / "dataset", Naming(features={"observation.more": "state"}))


def test_a_colon_in_the_path_is_no_protocol(tmp_path, episodes, monkeypatch):
    (tmp_path / "at:home").mkdir()
    monkeypatch.chdir(tmp_path)
    root = Path("at:home/dataset")
    export(root, episodes[:1], video=True)
    assert len(imported(root)) == 1


def test_a_name_with_a_slash_is_no_directory_of_the_data_set(tmp_path):
    cameras = (CameraSpec("../../../wrist/left", 16, 16), CameraSpec("top", 16, 16))
    spec = replace(SEEING, cameras=cameras, state=(FeatureSpec("arm/held", (1,), "int64"),))
    episode = record(tmp_path / "recorded", 0, spec=spec)
    export(tmp_path / "sets" / "dataset", [episode], video=True)
    assert {path.name for path in tmp_path.iterdir()} == {"recorded", "sets"}
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["dataset"]
    info = json.loads((tmp_path / "sets/dataset/meta/info.json").read_bytes())
    assert not any("/" in name for name in info["features"])
    (back,) = imported(tmp_path / "sets" / "dataset").values()
    assert back.meta == episode.meta
    np.testing.assert_array_equal(back.state("arm/held"), episode.state("arm/held"))


def test_cameras_that_would_be_one_in_a_data_set_are_refused(tmp_path):
    cameras = (CameraSpec("wrist/left", 16, 16), CameraSpec("wrist.left", 16, 16))
    with pytest.raises(SpecMismatch, match=r"observation\.images\.wrist\.left"):
        export(tmp_path / "dataset", [record(tmp_path / "recorded", 0, spec=replace(SEEING, cameras=cameras))])
    assert not (tmp_path / "dataset/meta").exists()


def test_features_that_would_be_one_in_a_data_set_are_refused(tmp_path):
    spec = replace(BLIND, state=tuple(FeatureSpec(name, (1,), "int64") for name in ("a/held", "a.held/held")))
    export(tmp_path / "other", [record(tmp_path / "recorded", 0, spec=spec)])
    spec = replace(BLIND, state=tuple(FeatureSpec(name, (1,), "int64") for name in ("a/b/held", "a.b/held")))
    with pytest.raises(SpecMismatch, match=r"fleetloop\.state\.a\.b\.held"):
        export(tmp_path / "dataset", [record(tmp_path / "recorded", 1, spec=spec)])
    spec = replace(BLIND, state=tuple(FeatureSpec(name, (1,)) for name in ("a/b/held", "a.b/held")))
    export(tmp_path / "as they are", [record(tmp_path / "recorded", 2, spec=spec)])


def test_a_picture_that_is_broken_names_its_episode(tmp_path, episodes):
    cut = record(tmp_path / "recorded", 9, cut=40)
    with pytest.raises(EpisodeInvalid, match=rf"image\.top: can't be decoded at frame 0 of {cut.meta.id}"):
        export(tmp_path / "dataset", [*episodes, cut])


def test_an_episode_that_comes_twice_is_written_once(tmp_path, episodes):
    assert export(tmp_path / "dataset", [*episodes, episodes[0]]) == 4
    assert list(imported(tmp_path / "dataset")) == [one.meta.id for one in episodes]


@pytest.mark.parametrize(
    "moves", ["[", "{}", "[1]", '["../outside"]', '["data/../../outside"]', '["/outside"]', '["README.md"]']
)
def test_a_list_of_moves_from_elsewhere_moves_nothing(tmp_path, episodes, moves):
    root, outside = tmp_path / "dataset", tmp_path / "outside"
    outside.write_text("mine")
    (root / ".fleetloop").mkdir(parents=True)
    (root / ".fleetloop/moves.json").write_text(moves)
    (tmp_path / "dataset" / "outside").write_text("theirs")
    with pytest.raises(DatasetInvalid, match=r"moves\.json"):
        export(root, episodes)
    assert outside.read_text() == "mine"


def test_another_kind_of_robot_is_refused(tmp_path, episodes):
    other = record(tmp_path / "recorded", 9, spec=replace(SEEING, embodiment="one-hand"))
    with pytest.raises(SpecMismatch, match="one-hand"):
        export(tmp_path / "dataset", [*episodes, other])


def test_a_data_set_that_others_changed_is_not_added_to(tmp_path, episodes):
    export(tmp_path / "dataset", episodes[:1])
    as_anothers(tmp_path / "dataset")
    with pytest.raises(DatasetInvalid, match="can't be added to"):
        export(tmp_path / "dataset", episodes)
    export(tmp_path / "earlier", episodes[:1])
    info = json.loads((tmp_path / "earlier/meta/info.json").read_bytes())
    info["features"]["fleetloop.image_taken.top"] = info["features"].pop("fleetloop.taken.top")
    _edit(tmp_path / "earlier", **info)
    with pytest.raises(DatasetInvalid, match="earlier version"):
        export(tmp_path / "earlier", episodes)
    export(tmp_path / "images", episodes[:1])
    with pytest.raises(DatasetInvalid, match="as images"):
        export(tmp_path / "images", episodes, video=True)
