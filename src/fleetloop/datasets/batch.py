"""One batch of episodes as the tables of a LeRobotDataset: a row per frame, and a row per episode."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetloop.core.episode import Episode
from fleetloop.core.frame import Array
from fleetloop.core.spec import CameraSpec
from fleetloop.datasets import statistics
from fleetloop.datasets.layout import DATA_MB, META, VIDEO_MB, arrow, camera_key, columns_of

MOST = np.array([200, DATA_MB << 20, VIDEO_MB << 20])
"""Of a file's batch: episodes, bytes of data, bytes of each video."""


def in_batches(episodes: Iterable[Episode], *, video: bool) -> Iterator[list[Episode]]:
    """As many at a time as a file is to hold; one that is too large for that has a file of its own."""
    batch, filled = list[Episode](), np.zeros_like(MOST)
    for episode in episodes:
        more = _sizes(episode, video=video)
        if batch and (filled + more > MOST).any():
            yield batch
            batch, filled = [], np.zeros_like(MOST)
        batch.append(episode)
        filled = filled + more
    if batch:
        yield batch


def _sizes(episode: Episode, *, video: bool) -> npt.NDArray[np.int64]:
    """What it takes of `MOST`. A video is taken to be as large as its JPEGs, though it will be smaller."""
    images = [episode.jpeg_bytes(camera.name) for camera in episode.meta.spec.cameras] if video else []
    return np.array([1, episode.nbytes - sum(images), max(images, default=0)])


@dataclass(frozen=True)
class Place:
    """Which file of a data set a batch fills, and where it begins in the whole.

    Attributes:
        chunk_index, file_index: the same for frames, episodes and videos.
        episode_index, index: the numbers of its first episode and of its first frame.
    """

    chunk_index: int
    file_index: int
    episode_index: int
    index: int

    def path(self, template: str, **names: str) -> str:
        return template.format(chunk_index=self.chunk_index, file_index=self.file_index, **names)


class Batch:
    """Episodes of one robot specification, each with at least one frame.

    Args:
        tasks: the data set's instructions, those of these episodes among them.
        video: whether cameras go into videos; else their images are columns.
    """

    def __init__(self, episodes: Sequence[Episode], place: Place, tasks: Sequence[str], *, video: bool) -> None:
        self._episodes, self._place, self._tasks, self._video = episodes, place, tasks, video
        self._spec = episodes[0].meta.spec
        self.columns: list[dict[str, Array]] = [columns_of(episode) for episode in episodes]
        lengths = [len(episode) for episode in episodes]
        self._begins = place.index + np.concatenate([[0], np.cumsum(lengths)])

    def __len__(self) -> int:
        """Frames."""
        return int(self._begins[-1]) - self._place.index

    def frames(self) -> Iterator[pa.Table]:
        """A table per episode, a row per frame."""
        for number, episode in enumerate(self._episodes):
            columns = self.columns[number] | self._numbering(number)
            table = {name: arrow(values) for name, values in columns.items()}
            for camera in self._spec.cameras if not self._video else ():
                table[camera_key(camera.name)] = _stored(episode, camera)
            yield pa.table(table)

    def rows(self) -> list[dict[str, Any]]:
        """A row per episode: where it is, what it is, and its statistics."""
        return [self._row(number, episode) for number, episode in enumerate(self._episodes)]

    @cached_property
    def stats(self) -> list[dict[str, statistics.Stats]]:
        """Of each episode, by column."""
        return [self._stats(episode, found) for episode, found in zip(self._episodes, self.columns, strict=True)]

    def _stats(self, episode: Episode, columns: Mapping[str, Array]) -> dict[str, statistics.Stats]:
        found = {name: statistics.of_values(values) for name, values in columns.items()}
        for camera in self._spec.cameras:
            images = [episode.picture(camera.name, index) for index in statistics.sampled(len(episode))]
            found[camera_key(camera.name)] = statistics.of_images(images, len(episode))
        return found

    def images(self, camera: CameraSpec) -> Iterator[npt.NDArray[np.uint8]]:
        """What it saw, of all episodes one after the other."""
        for episode in self._episodes:
            for index in range(len(episode)):
                yield episode.picture(camera.name, index)

    def _numbering(self, number: int) -> dict[str, Array]:
        count = len(self._episodes[number])
        steps = np.arange(count)
        return {
            "timestamp": (steps / self._spec.control_hz).astype(np.float32),
            "frame_index": steps,
            "episode_index": np.full(count, self._place.episode_index + number),
            "index": self._begins[number] + steps,
            "task_index": np.full(count, self._tasks.index(self._episodes[number].meta.instruction)),
        }

    def _row(self, number: int, episode: Episode) -> dict[str, Any]:
        place, first, last = self._place, int(self._begins[number]), int(self._begins[number + 1])
        row: dict[str, Any] = {
            "episode_index": place.episode_index + number,
            "tasks": [episode.meta.instruction],
            "length": len(episode),
            "dataset_from_index": first,
            "dataset_to_index": last,
            META: json.dumps(episode.meta.to_json()),
        }
        for kind in ("data", "meta/episodes"):
            row |= {f"{kind}/chunk_index": place.chunk_index, f"{kind}/file_index": place.file_index}
        for camera in self._spec.cameras if self._video else ():
            key = f"videos/{camera_key(camera.name)}"
            row |= {f"{key}/chunk_index": place.chunk_index, f"{key}/file_index": place.file_index}
            row[f"{key}/from_timestamp"] = (first - place.index) / self._spec.control_hz
            row[f"{key}/to_timestamp"] = (last - place.index) / self._spec.control_hz
        return row | _flat(self.stats[number])


def _stored(episode: Episode, camera: CameraSpec) -> pa.Array:
    """Images as they were recorded, in the form in which Hugging Face's `datasets` keeps them."""
    stored = [{"bytes": episode.jpeg(camera.name, index), "path": None} for index in range(len(episode))]
    return pa.array(stored, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def _flat(stats: Mapping[str, statistics.Stats]) -> dict[str, Any]:
    """Statistics as columns of an episode's row."""
    return {f"stats/{name}/{kind}": value.tolist() for name, one in stats.items() for kind, value in one.items()}
