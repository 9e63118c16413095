"""Episodes into a LeRobotDataset v3.0, appended a batch at a time, each of which is there as a whole or not at all."""

import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fleetloop.core.disk import Disk
from fleetloop.core.episode import Episode, EpisodeMeta
from fleetloop.core.errors import SpecMismatch
from fleetloop.core.spec import RobotSpec
from fleetloop.datasets import statistics
from fleetloop.datasets.batch import Batch, Place, in_batches
from fleetloop.datasets.commit import Staging
from fleetloop.datasets.errors import UNREADABLE, DatasetInvalid
from fleetloop.datasets.layout import (
    DATA,
    DATA_MB,
    EPISODES,
    FILES_PER_CHUNK,
    INFO,
    META,
    STATS,
    TASKS,
    VERSION,
    VIDEO_MB,
    VIDEOS,
    camera_key,
    features_of,
)
from fleetloop.datasets.video import write_video


@dataclass(frozen=True)
class Held:
    """What a data set holds already.

    Attributes:
        spec: of its robots; None before the first batch.
        info: as in info.json.
        ids: of the episodes.
        files: how many batches that came in.
        tasks: instructions, each at its number.
        stats: over everything, by column.
    """

    spec: RobotSpec | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()
    files: int = 0
    tasks: tuple[str, ...] = ()
    stats: Mapping[str, statistics.Stats] = field(default_factory=dict)


class DatasetWriter:
    """One data set, at `root`, of one kind of robot. For one process at a time.

    Args:
        video: cameras as videos, for which PyAV is needed; otherwise as images, byte for byte as they were recorded.

    Raises:
        DatasetInvalid: if what is at `root` is not from an earlier export, or keeps its cameras in the other way.
        DiskTrouble: if it can't be written.
    """

    def __init__(self, root: Path, disk: Disk, *, video: bool) -> None:
        root = root.absolute()  # as DatasetReader has it
        self._root, self._video = root, video
        disk.make(root)
        self._staging = Staging(root, disk)
        self.held = read_held(root)
        if self.held.spec and self.held.spec.cameras and _has_videos(self.held.info) is not video:
            kept = "videos" if not video else "images"
            raise DatasetInvalid(
                str(root), f"keeps its cameras as {kept}", "go on like that, or choose a new directory"
            )

    def append(self, episodes: Iterable[Episode]) -> int:
        """Write those that are not there yet; returns how many. What was committed stays if a later one fails.

        One that comes twice is written once. Those without a frame are left out: LeRobot has none.

        Raises:
            SpecMismatch: if a robot's specification is not that of the others.
            SystemMissing: for videos without PyAV.
        """
        added, seen = 0, set(self.held.ids)
        fresh = (episode for episode in episodes if len(episode) and not _seen(seen, episode.meta.id))
        for batch in in_batches(fresh, video=self._video):
            self._add(batch)
            added += len(batch)
        return added

    def _add(self, episodes: Sequence[Episode]) -> None:
        held, spec = self.held, self.held.spec or episodes[0].meta.spec
        for episode in episodes:
            _check_spec(episode.meta, spec)
        chunk, file = divmod(held.files, FILES_PER_CHUNK)
        place = Place(chunk, file, len(held.ids), held.info.get("total_frames", 0))
        tasks = tuple(dict.fromkeys([*held.tasks, *(episode.meta.instruction for episode in episodes)]))
        batch = Batch(episodes, place, tasks, video=self._video)
        features = features_of(spec, batch.columns[0], video=self._video)
        if held.info and held.info["features"].keys() != features.keys():
            problem, remedy = "has the columns of an earlier version", "export into a new directory"
            raise DatasetInvalid(str(self._root / INFO), problem, remedy)
        for camera in spec.cameras if self._video else ():
            path = self._staging.path(place.path(VIDEOS, video_key=camera_key(camera.name)))
            features[camera_key(camera.name)]["info"] = write_video(path, batch.images(camera), hz=spec.control_hz)
            _force(path)
        self._write_frames(place.path(DATA), batch)
        known = [held.stats, *batch.stats] if held.stats else batch.stats
        stats = {name: statistics.together([part[name] for part in known]) for name in known[0]}
        ids = held.ids | {episode.meta.id for episode in episodes}
        info = _info(spec, features, episodes=len(ids), frames=place.index + len(batch), tasks=len(tasks))
        self._staging.put(place.path(EPISODES), _parquet(pa.Table.from_pylist(batch.rows())))
        self._staging.put(TASKS, _parquet(_tasks_table(tasks)))
        self._staging.put(STATS, _json({name: _listed(one) for name, one in stats.items()}))
        self._staging.put(INFO, _json(info))
        self._staging.commit()
        self.held = Held(spec, info, ids, held.files + 1, tasks, stats)

    def _write_frames(self, name: str, batch: Batch) -> None:
        """A row group per episode: what reads a group at once can't read one that holds 2 GB of a camera's images."""
        tables = batch.frames()
        first = next(tables)
        with self._staging.file(name) as file, pq.ParquetWriter(file, first.schema) as writer:
            for table in chain([first], tables):
                writer.write_table(table)


def read_held(root: Path) -> Held:
    """What is at `root`. Raises DatasetInvalid if that can't be gone on with."""
    if not (root / INFO).exists():
        return Held()
    try:
        info, stats = json.loads((root / INFO).read_bytes()), json.loads((root / STATS).read_bytes())
        files = sorted((root / "meta/episodes").glob("*/*.parquet"))
        said = [text for file in files for text in pq.read_table(file, columns=[META])[META].to_pylist()]
        tasks = pq.read_table(root / TASKS).sort_by("task_index")["task"].to_pylist()
        metas = [json.loads(text) for text in said]
        ids = frozenset(meta["id"] for meta in metas)
        if info["codebase_version"] != VERSION or len(ids) != info["total_episodes"]:
            raise DatasetInvalid(str(root), "is another version, or was changed by others", "choose a new directory")
        arrays = {name: {kind: np.array(value) for kind, value in one.items()} for name, one in stats.items()}
        return Held(RobotSpec.from_json(metas[0]["spec"]), info, ids, len(files), tuple(tasks), arrays)
    except UNREADABLE as error:
        remedy = "export into a new directory"
        raise DatasetInvalid(str(root), f"can't be added to: an export did not write it ({error})", remedy) from error


def _seen(seen: set[str], id: str) -> bool:
    """Whether an id was among these; it is afterwards."""
    before = len(seen)
    seen.add(id)
    return len(seen) == before


def _check_spec(meta: EpisodeMeta, spec: RobotSpec) -> None:
    if meta.spec != spec:
        problem = f"{meta.robot} ({meta.spec.embodiment}) has another specification than the data set's robots"
        raise SpecMismatch(f"episode {meta.id}", problem, "export its kind into a directory of its own")


def _has_videos(info: Mapping[str, Any]) -> bool:
    return any(feature["dtype"] == "video" for feature in info["features"].values())


def _info(spec: RobotSpec, features: Mapping[str, Any], *, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    hz = spec.control_hz
    return {
        "codebase_version": VERSION,
        "robot_type": spec.embodiment,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": int(hz) if float(hz).is_integer() else hz,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA,
        "video_path": VIDEOS,
        "features": features,
    }


def _tasks_table(tasks: Sequence[str]) -> pa.Table:
    """With the instruction as the index of a pandas table, which is how LeRobot reads it."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": list(tasks)})
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
        for name, kind, numpy_type in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def _listed(stats: statistics.Stats) -> dict[str, Any]:
    return {kind: value.tolist() for kind, value in stats.items()}


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=4).encode()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _force(path: Path) -> None:
    """Onto the disk for good: another's library wrote it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
