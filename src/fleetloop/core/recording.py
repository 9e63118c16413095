"""From frames to a sealed episode: record a stream, seal it, recover what a crash left.

While recording, `ID.partial` is an Arrow IPC *stream*, flushed on a cadence and fsynced at the end; its last, empty
batch carries the ending. Sealing rewrites it as the immutable IPC *file* `ID.arrow`, whose blake3 names its bytes.
"""

import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3

from fleetloop.core.columns import COUNTERS
from fleetloop.core.disk import Disk, disk_trouble
from fleetloop.core.episode import (
    CONTENT_KEY,
    META_KEY,
    Ending,
    Episode,
    EpisodeMeta,
    read_meta,
    schema_of,
)
from fleetloop.core.errors import EpisodeInvalid
from fleetloop.core.frame import Frame
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.validation import content_hash, validate

PARTIAL, SEALED = ".partial", ".arrow"
ENDING_KEY = b"fleetloop.ending"
ABORTED = Ending(Outcome.ABORTED, Judge.NOBODY)


class Recording:
    """One episode being written.

    Attributes:
        path: `ID.partial`, locked by this process for as long as the recording is open.
    """

    def __init__(self, disk: Disk, directory: Path, meta: EpisodeMeta) -> None:
        self.meta, self.path = meta, directory / f"{meta.id}{PARTIAL}"
        self._disk, self._schema = disk, schema_of(meta)
        self._file = disk.create(self.path)
        disk.sync_name(self.path)
        self._stream = pa.ipc.new_stream(self._file, self._schema)
        self._rows: list[tuple[Frame, dict[str, bytes]]] = []

    def add(self, frame: Frame, jpegs: dict[str, bytes] | None = None) -> None:
        """Keep a frame in memory until the next `flush`; `jpegs` by camera name."""
        self._rows.append((frame, jpegs or {}))

    def flush(self) -> None:
        """Write what was added as one record batch."""
        if not self._rows:
            return
        try:
            self._stream.write_batch(_batch(self._rows, self.meta, self._schema))
            self._file.flush()
        except OSError as error:
            raise disk_trouble(self.path, error) from error
        self._rows = []

    def finish(self, ending: Ending) -> None:
        """Write the rest and the ending, and force it all onto the disk."""
        self.flush()
        empty = pa.RecordBatch.from_pylist([], schema=self._schema)
        try:
            self._stream.write_batch(empty, custom_metadata={ENDING_KEY: json.dumps(asdict(ending)).encode()})
            self._stream.close()
            self._disk.sync(self._file)
            self._file.close()
        except OSError as error:
            raise disk_trouble(self.path, error) from error

    def abandon(self) -> None:
        """Let go of the file after a DiskTrouble. What is on the disk is sealed as `aborted` one day."""
        self._rows = []
        try:
            self._file.close()
        except OSError:
            self._file.close()  # the first call failed to write what was buffered; the second one closes


@dataclass(frozen=True)
class Sealed:
    """A sealed episode on this disk: its metadata, its file, the blake3 of its bytes and their number."""

    meta: EpisodeMeta
    path: Path
    hash: str
    size: int


def seal(disk: Disk, partial: Path) -> Sealed:
    """Rewrite a recording as the immutable file beside it and remove the stream.

    A stream without an ending (its writer died) is sealed as `aborted` with the frames that are whole. Doing it twice
    gives the same bytes.

    Raises:
        EpisodeInvalid: if not even the stream's head is readable, or a value in it is impossible.
    """
    try:
        batches, meta = _read_stream(partial)
        data = seal_bytes(batches, meta)
    except (pa.ArrowException, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise EpisodeInvalid(partial.name, f"holds damaged data ({type(error).__name__})") from error
    except OSError as error:
        raise _unreadable(partial, error) from error
    path = partial.with_suffix(SEALED)
    disk.write(path, data)
    disk.remove(partial)
    return Sealed(meta, path, blake3(data).hexdigest(), len(data))


def open_sealed(path: Path) -> Sealed:
    """A file that `seal` wrote earlier. Raises EpisodeInvalid."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    episode = Episode.from_bytes(data)
    validate(episode)
    return Sealed(episode.meta, path, blake3(data).hexdigest(), len(data))


def _unreadable(path: Path, error: OSError) -> EpisodeInvalid:
    return EpisodeInvalid(path.name, f"can't be read ({error.strerror or error})", "its disk may be failing")


def seal_bytes(batches: list[pa.RecordBatch], meta: EpisodeMeta) -> bytes:
    """The bytes of the sealed file; validated."""
    schema = schema_of(meta)
    table = pa.Table.from_batches([batch.cast(schema) for batch in batches], schema=schema).combine_chunks()
    rows = table.to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]
    content = content_hash(rows[0], schema.metadata[META_KEY])
    schema = schema.with_metadata({**schema.metadata, CONTENT_KEY: content})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(rows[0].replace_schema_metadata(schema.metadata))
    data = sink.getvalue()
    validate(Episode.from_bytes(data))
    return data


def _read_stream(partial: Path) -> tuple[list[pa.RecordBatch], EpisodeMeta]:
    batches: list[pa.RecordBatch] = []
    ending = ABORTED
    with partial.open("rb") as file:
        try:
            reader = pa.ipc.open_stream(file)
            meta = read_meta(reader.schema)
        except (pa.ArrowException, OSError) as error:
            raise EpisodeInvalid(partial.name, "has no readable head; nothing of it can be saved") from error
        while True:
            try:
                batch, custom = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            except (pa.ArrowException, OSError):
                break  # the tail is torn: the writer died in the middle of a batch, and what came before it is whole
            if custom and ENDING_KEY in custom:
                said = json.loads(custom[ENDING_KEY])
                ending = Ending(Outcome(said["outcome"]), Judge(said["judge"]), int(said["ticks_missed"]))
                break
            batches.append(batch)
    return batches, replace(meta, ending=ending)


def _batch(rows: list[tuple[Frame, dict[str, bytes]]], meta: EpisodeMeta, schema: pa.Schema) -> pa.RecordBatch:
    frames = [frame for frame, _ in rows]
    columns: dict[str, Any] = {}
    for name, kind in COUNTERS.items():
        columns[name] = pa.array([getattr(frame, name) for frame in frames], kind)
    for feature in meta.spec.state:
        values = [frame.observation.state[feature.name] for frame in frames]
        columns[f"state.{feature.name}"] = _fixed(values, feature.dtype, feature.shape, schema, f"state.{feature.name}")
    shape = meta.spec.action.shape
    columns["action"] = _fixed([frame.sent for frame in frames], "float32", shape, schema, "action")
    requested = [frame.requested for frame in frames]
    columns["action_requested"] = _fixed(requested, "float32", shape, schema, "action_requested")
    for camera in meta.spec.cameras:
        columns[f"image.{camera.name}"] = pa.array([jpegs[camera.name] for _, jpegs in rows], pa.binary())
        taken = [frame.observation.images_taken[camera.name] for frame in frames]
        columns[f"image_taken.{camera.name}"] = pa.array(taken, pa.float64())
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _fixed(values: list[Any], dtype: str, shape: tuple[int, ...], schema: pa.Schema, name: str) -> pa.Array:
    stacked = np.ascontiguousarray(values, dtype=dtype)
    if stacked.shape[1:] != shape:
        raise EpisodeInvalid(name, f"has the shape {list(stacked.shape[1:])}, but the spec says {list(shape)}")
    return pa.FixedSizeListArray.from_arrays(pa.array(stacked.reshape(-1)), type=schema.field(name).type)
