"""How a LeRobotDataset v3.0 lies on the disk, and how an episode's columns are called in one.

    meta/info.json                                       features, rate, counts, where the rest is
    meta/tasks.parquet                                   every instruction, with its number
    meta/stats.json                                      statistics over everything
    meta/episodes/chunk-000/file-000.parquet             a row per episode: where its frames and videos are, statistics
    data/chunk-000/file-000.parquet                      a row per frame
    videos/observation.images.NAME/chunk-000/file-000.mp4

What LeRobot has no name for is kept under `fleetloop.…`, which its policies take for no input, so that nothing is lost.
Format: https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetloop.core.columns import COUNTERS
from fleetloop.core.episode import PURPOSES, Episode
from fleetloop.core.errors import SpecMismatch
from fleetloop.core.frame import Array, Source
from fleetloop.core.outcome import Outcome
from fleetloop.core.spec import FeatureSpec, RobotSpec

VERSION = "v3.0"
INFO, TASKS, STATS = "meta/info.json", "meta/tasks.parquet", "meta/stats.json"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEOS = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_PER_CHUNK = 1000
DATA_MB, VIDEO_MB = 100, 200  # a file's size at the most
STATE, ACTION, IMAGES, OWN = "observation.state", "action", "observation.images.", "fleetloop."
META = f"{OWN}meta"  # of an episode: its metadata, as in the episode's own file
PURPOSE = f"{OWN}purpose"  # which of PURPOSES: LeRobot's tools drop the metadata, and an evaluation is not to train


def camera_key(camera: str) -> str:
    return f"{IMAGES}{_without_slash(camera)}"


def taken_key(camera: str) -> str:
    """When its images were: LeRobot's tools take a column with `image` in its name for images."""
    return f"{OWN}taken.{_without_slash(camera)}"


def state_key(feature: str) -> str:
    """Of what `observation.state` can't hold as it is."""
    return f"{OWN}state.{_without_slash(feature)}"


def _without_slash(name: str) -> str:
    """LeRobot allows none in a column's name, and videos lie in directories of that name."""
    return name.replace("/", ".")


def visible(spec: RobotSpec) -> list[FeatureSpec]:
    """What goes into `observation.state`, one after the other: whatever a policy may see."""
    return [feature for feature in spec.state if not feature.label]


def _stands_aside(feature: FeatureSpec) -> bool:
    """All others are in `observation.state` as they are."""
    return feature.label or feature.dtype != "float32"


def columns_of(episode: Episode) -> dict[str, Array]:
    """(T,) or (T, n): every column of the frames but images, task and numbering."""
    spec, last = episode.meta.spec, np.arange(len(episode)) == len(episode) - 1
    won = last & (episode.meta.outcome is Outcome.SUCCESS)
    parts = [episode.state(feature.name).reshape(len(episode), -1) for feature in visible(spec)]
    columns: dict[str, Array] = {}
    if parts:
        columns[STATE] = np.concatenate(parts, axis=1).astype(np.float32)
    columns |= {
        ACTION: episode.action,
        "next.reward": won.astype(np.float32),
        "next.done": last,
        "next.success": won,
        "intervention": episode.source == Source.HUMAN,
        f"{OWN}action_requested": episode.column("action_requested"),
    }
    columns |= {f"{OWN}{name}": episode.column(name) for name in COUNTERS}
    columns[PURPOSE] = np.full(len(episode), PURPOSES.index(episode.meta.purpose), np.int8)
    for feature in spec.state:
        if _stands_aside(feature):
            columns[state_key(feature.name)] = episode.state(feature.name).reshape(len(episode), -1)
    for camera in spec.cameras:
        columns[taken_key(camera.name)] = episode.column(f"image_taken.{camera.name}")
    return columns


def features_of(spec: RobotSpec, columns: Mapping[str, Array], *, video: bool) -> dict[str, dict[str, Any]]:
    """The table of features in info.json.

    Raises:
        SpecMismatch: if two would be of one name.
    """
    aside = [state_key(feature.name) for feature in spec.state if _stands_aside(feature)]
    keys = [camera_key(camera.name) for camera in spec.cameras] + aside
    for key, times in Counter(keys).items():
        if times > 1:
            problem = "is what two of the robot's cameras or features are called in a data set"
            raise SpecMismatch(key, problem, "rename one of them")
    features = {name: _feature(values, _names(spec, name)) for name, values in columns.items()}
    for camera in spec.cameras:
        names = ["height", "width", "channels"]
        shape = [camera.height, camera.width, 3]
        features[camera_key(camera.name)] = {"dtype": "video" if video else "image", "shape": shape, "names": names}
    for name, dtype in NUMBERING.items():
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return features


NUMBERING = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""The columns by which LeRobot counts frames, and their dtypes."""


def arrow(values: Array) -> pa.Array:
    """(T,) as plain values, (T, n) as fixed-size lists; one column of width 1 is plain too, as LeRobot has it."""
    if values.ndim == 2 and values.shape[1] != 1:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])
    return pa.array(np.ascontiguousarray(values.reshape(-1)))


def numpy_of(column: pa.ChunkedArray, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """(T, *shape): a column of numbers, however it nests its lists. Raises ValueError where one is missing."""
    flat = column.combine_chunks()
    while pa.types.is_list(flat.type) or pa.types.is_fixed_size_list(flat.type) or pa.types.is_large_list(flat.type):
        flat = flat.flatten()
    if flat.null_count:
        raise ValueError(f"{flat.null_count} of {len(flat)} {flat.type} are missing")
    if isinstance(flat, pa.ExtensionArray):
        return np.array(column.to_pylist()).reshape(len(column), *shape)
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), *shape)  # type: ignore[no-any-return]


def _feature(values: Array, names: list[str] | None) -> dict[str, Any]:
    width = values.shape[1] if values.ndim == 2 else 1
    return {"dtype": str(values.dtype), "shape": [width], "names": names}


def _names(spec: RobotSpec, column: str) -> list[str] | None:
    if column == STATE:
        return [name for feature in visible(spec) for name in _elements(feature)]
    if column in (ACTION, f"{OWN}action_requested"):
        return _elements(spec.action)
    return None


def _elements(feature: FeatureSpec) -> list[str]:
    """A name for every element of a feature, in C order."""
    found = []
    for place in np.ndindex(*feature.shape):
        words = [str(index) for index in place]
        if feature.fields:
            words[-1] = feature.fields[place[-1]]
        found.append(".".join([feature.name, *words]))
    return found
