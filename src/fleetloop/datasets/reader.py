"""Episodes out of a LeRobotDataset v3.0: our own exports as they were, anybody else's as who drove them says."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from fleetloop.core.columns import COUNTERS
from fleetloop.core.episode import EpisodeMeta, schema_of
from fleetloop.core.recording import seal_bytes
from fleetloop.core.spec import RobotSpec
from fleetloop.datasets.errors import UNREADABLE, DatasetInvalid
from fleetloop.datasets.foreign import Foreign, Naming, Row
from fleetloop.datasets.layout import (
    ACTION,
    INFO,
    META,
    OWN,
    STATE,
    TASKS,
    VERSION,
    camera_key,
    numpy_of,
    state_key,
    taken_key,
    visible,
)
from fleetloop.datasets.video import read_video

JPEG_QUALITY = 95
SPLIT = "an episode here has one, so split it where the next one begins"
PIECE = 1 << 29  # bytes of a data set's file that are read at once


class DatasetReader:
    """One data set on this machine's disk.

    Attributes:
        own: it is an export of ours, which names everything itself.
        left_out: what of it becomes no part of an episode, in a line each; complete once all episodes were read.

    Raises:
        DatasetInvalid: if it is none, or of another version than v3.0.
        UnknownName: if `naming` is about what it doesn't have.
    """

    def __init__(self, root: Path, naming: Naming) -> None:
        root = root.absolute()  # a relative path with a colon in it would be a protocol's to pyarrow and FFmpeg
        self._root = root
        self._file, self._table = Path(), pa.table({})  # the one that was read last
        try:
            self.info: Row = json.loads((root / INFO).read_bytes())
            _check_version(root, self.info["codebase_version"])
            self._features: Mapping[str, Row] = self.info["features"]
            files = sorted((root / "meta/episodes").glob("*/*.parquet"))
            self._rows: list[Row] = [row for file in files for row in _without_stats(file)]
            self._foreign = Foreign(self.info, _tasks(root / TASKS), naming)
        except UNREADABLE as error:
            raise DatasetInvalid(str(root), f"is no LeRobotDataset that can be read ({error})") from error
        self.own = bool(self._rows) and all(row.get(META) for row in self._rows)
        self.left_out = [f"{key}: a depth map, and no camera here has depth" for key in self._foreign.depth_keys]
        if not self.own:
            self._foreign.check_naming()

    def __len__(self) -> int:
        """Episodes."""
        return len(self._rows)

    def episodes(self) -> Iterator[tuple[str, bytes]]:
        """(id, the bytes of a sealed episode file), in order. The same data set always gives the same.

        Raises:
            DatasetInvalid: naming the file at fault.
            EpisodeInvalid: naming the column that holds something impossible.
            SystemMissing: for videos without PyAV.
        """
        known = Counter[bytes]()
        for row in self._rows:
            try:
                frames = self._frames(row)
                if not row.get(META) and len(instructions := frames["task_index"].unique()) > 1:
                    self.left_out.append(f"episode {row['episode_index']}: {len(instructions)} instructions; {SPLIT}")
                    continue
                meta = _own_meta(row) or self._foreign.meta(frames, known)
                yield meta.id, self._sealed(row, frames, meta)
            except UNREADABLE as error:
                where = f"{self._root}: episode {row.get('episode_index')}"
                raise DatasetInvalid(where, f"can't be read ({type(error).__name__}: {error})") from error

    # ------------------------------------------------------------------ one episode

    def _frames(self, row: Row) -> pa.Table:
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        file = self._root / self.info["data_path"].format(**place)
        if file != self._file:  # many episodes lie in one, one after the other
            self._file, self._table = file, _read(file)
        table = self._table.filter(pc.field("episode_index") == row["episode_index"])
        if len(table) != row["length"]:
            raise DatasetInvalid(str(file), f"holds {len(table)} of {row['length']} frames of {row['episode_index']}")
        return table.sort_by("frame_index")

    def _sealed(self, row: Row, frames: pa.Table, meta: EpisodeMeta) -> bytes:
        own = META in row and row[META] is not None
        columns = self._own_columns(frames, meta.spec) if own else self._foreign.columns(frames)
        for camera in meta.spec.cameras:
            columns[f"image.{camera.name}"] = self._images(row, frames, camera.name, own)
        return seal_bytes([_batch(columns, meta)], meta)

    def _own_columns(self, frames: pa.Table, spec: RobotSpec) -> dict[str, Any]:
        columns: dict[str, Any] = {name: frames[f"{OWN}{name}"].to_numpy() for name in COUNTERS}
        columns["action"] = numpy_of(frames[ACTION], spec.action.shape)
        columns["action_requested"] = numpy_of(frames[f"{OWN}action_requested"], spec.action.shape)
        place = 0
        for feature in visible(spec):
            size = int(np.prod(feature.shape, dtype=int))
            if feature.dtype == "float32":
                together = numpy_of(frames[STATE], (-1,)) if len(frames) else np.empty((0, size))
                columns[f"state.{feature.name}"] = together[:, place : place + size]
            place += size
        for feature in spec.state:
            if (key := state_key(feature.name)) in frames.column_names:
                columns[f"state.{feature.name}"] = numpy_of(frames[key], feature.shape)
        for camera in spec.cameras:
            now, before = taken_key(camera.name), f"{OWN}image_taken.{camera.name}"  # `before`: in earlier exports
            columns[f"image_taken.{camera.name}"] = frames[now if now in frames.column_names else before].to_numpy()
        return columns

    def _images(self, row: Row, frames: pa.Table, camera: str, own: bool) -> list[bytes]:
        key = camera_key(camera) if own else self._foreign.camera_keys[camera]
        if self._features[key]["dtype"] == "image":
            return [_as_jpeg(item["bytes"]) for item in frames[key].to_pylist()]
        place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        file = self._root / self.info["video_path"].format(video_key=key, **place)
        first_s = row[f"videos/{key}/from_timestamp"]
        images = read_video(file, first_s=first_s, count=len(frames), hz=float(self.info["fps"]))
        return [_jpeg(Image.fromarray(image)) for image in islice(images, len(frames))]


def _own_meta(row: Row) -> EpisodeMeta | None:
    said = row.get(META)
    return EpisodeMeta.from_json(json.loads(said)) if said else None


def _check_version(root: Path, version: str) -> None:
    if version != VERSION:
        remedy = "convert it with lerobot's own script first"
        raise DatasetInvalid(str(root / INFO), f"is of version {version}; {VERSION} is read here", remedy)


def _batch(columns: Mapping[str, Any], meta: EpisodeMeta) -> pa.RecordBatch:
    schema = schema_of(meta)
    arrays = []
    for column in schema:
        values = columns[column.name]
        if pa.types.is_fixed_size_list(column.type):
            flat = np.ascontiguousarray(values, column.type.value_type.to_pandas_dtype()).reshape(-1)
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), type=column.type))
        else:
            arrays.append(pa.array(values, column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _tasks(file: Path) -> dict[int, str]:
    table = pq.read_table(file)
    # The instruction is the index of a pandas table, which has whatever name its writer gave it.
    (words,) = (name for name in table.column_names if name != "task_index")
    return dict(zip(table["task_index"].to_pylist(), table[words].to_pylist(), strict=True))


def _without_stats(file: Path) -> Sequence[Row]:
    names = [name for name in pq.read_schema(file).names if not name.startswith("stats/")]
    rows: Sequence[Row] = pq.read_table(file, columns=names).to_pylist()
    return rows


def _read(file: Path) -> pa.Table:
    """In pieces: of a row group with more than 2 GB of images, Arrow can't make one array."""
    with pq.ParquetFile(file) as parquet:
        about = parquet.metadata
        size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        batches = list(parquet.iter_batches(max(1, about.num_rows * PIECE // max(1, size))))
        return pa.Table.from_batches(batches, parquet.schema_arrow)


def _as_jpeg(data: bytes) -> bytes:
    return data if data[:2] == b"\xff\xd8" else _jpeg(Image.open(io.BytesIO(data)))


def _jpeg(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.convert("RGB").save(sink, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return sink.getvalue()
