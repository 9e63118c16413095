"""An episode: one attempt at one task, as an immutable Arrow file that any language can read.

Columns: `tick`, `clock_s`, `wall_s`, `state.NAME` and `action`, `action_requested` (fixed-size lists), `source`,
`release`, `chunk_id`, `chunk_index`, and per camera `image.NAME` (JPEG) and `image_taken.NAME`. The schema's metadata
holds `fleetloop.meta`, one JSON object: `EpisodeMeta`. How such a file comes to be stands in `recording.py`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetloop.core.columns import columns_of
from fleetloop.core.errors import EpisodeInvalid
from fleetloop.core.frame import Array, Source
from fleetloop.core.ids import is_id
from fleetloop.core.outcome import Annotation, Judge, Outcome, standing
from fleetloop.core.picture import decoded, resized
from fleetloop.core.spec import RobotSpec
from fleetloop.core.text import torn

FORMAT = 1
META_KEY = b"fleetloop.meta"
CONTENT_KEY = b"fleetloop.content"
PURPOSES = ("online", "demonstration", "evaluation")
HUGE = 2**63  # from here on a catalog can keep no whole number
SMALL = 1 << 20  # bytes up to which a file is sooner read than mapped
UNREADABLE = (pa.ArrowException, ValueError, TypeError, OverflowError, MemoryError, OSError)
"""What Arrow and numpy raise for files that nobody means to write."""


@dataclass(frozen=True)
class Ending:
    """How the recording came to its end. `ticks_missed` were due but not driven."""

    outcome: Outcome
    judge: Judge
    ticks_missed: int = 0


@dataclass(frozen=True)
class EpisodeMeta:
    """What is known of an episode beside its frames.

    Attributes:
        id: ULID.
        purpose: `online`, `demonstration` or `evaluation` (which never enters a buffer).
        seed: of the simulated reset; -1 where there is none.
        operator: the pool of people that the robot had, whether they took over or not; empty for none.
        reset_s: clock seconds that the reset took.
        clock: the clock's name; clock_offset_s: Unix time minus clock time at the start.
    """

    id: str
    run: str
    robot: str
    site: str
    task: str
    instruction: str
    purpose: str
    spec: RobotSpec
    operator: str = ""
    seed: int = -1
    reset_s: float = 0.0
    clock: str = "wall"
    clock_offset_s: float = 0.0
    ending: Ending | None = None
    format: int = FORMAT

    @property
    def outcome(self) -> Outcome:
        return self.ending.outcome if self.ending else Outcome.ABORTED

    def to_json(self) -> dict[str, Any]:
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        ending = asdict(self.ending) if self.ending else None
        return {**plain, "spec": self.spec.to_json(), "ending": ending, "spec_hash": self.spec.hash()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EpisodeMeta":
        """Raises EpisodeInvalid naming the field that is wrong."""
        values = dict(data)
        if values.get("format") != FORMAT:
            raise EpisodeInvalid("format", f"is {values.get('format')!r}", f"this version reads format {FORMAT}")
        spec_hash = values.pop("spec_hash", None)
        for name in ("id", "run", "robot", "site", "task"):
            if not values.get(name):
                raise EpisodeInvalid(name, f"is {values.get(name)!r}, not a text")
        for name in ("id", "run", "robot", "site", "task", "instruction", "operator", "clock"):
            if not isinstance(values.get(name, ""), str):
                raise EpisodeInvalid(name, f"is {values[name]!r}, not a text")
        for name in ("seed", "reset_s", "clock_offset_s"):
            if not _is_number(values.get(name, 0)):
                raise EpisodeInvalid(name, f"is {values[name]!r}, not a finite number")
        if not is_id(values["id"]):
            raise EpisodeInvalid("id", f"{values['id']!r} is no ULID")
        if values.get("purpose") not in PURPOSES:
            raise EpisodeInvalid("purpose", f"is {values.get('purpose')!r}", f"use one of {', '.join(PURPOSES)}")
        try:
            values["spec"] = _spec(json.dumps(values["spec"]))
            if values.get("ending") is not None:
                ending = values["ending"]
                values["ending"] = Ending(
                    Outcome(ending["outcome"]), Judge(ending["judge"]), int(ending["ticks_missed"])
                )
            meta = cls(**values)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise EpisodeInvalid("metadata", f"is incomplete or malformed ({error})") from error
        if spec_hash != meta.spec.hash():
            raise EpisodeInvalid("spec_hash", "does not belong to the spec in this file")
        return meta


def schema_of(meta: EpisodeMeta) -> pa.Schema:
    """The Arrow schema of an episode of this robot, with the metadata attached."""
    return pa.schema(columns_of(meta.spec), metadata={META_KEY: json.dumps(meta.to_json()).encode()})


class Episode:
    """A sealed episode, memory-mapped: arrays are views of the file.

    Raises:
        EpisodeInvalid: on opening what is no valid episode.
    """

    def __init__(self, table: pa.RecordBatch, meta: EpisodeMeta) -> None:
        self.meta = meta
        self._batch = table

    @classmethod
    def open(cls, path: Path) -> "Episode":
        """Map the file, or read it if it is small. Only its structure is checked here; `validate` reads every value."""
        try:
            if path.stat().st_size <= SMALL:
                return cls._read(pa.BufferReader(path.read_bytes()))
            with pa.memory_map(str(path)) as source:
                return cls._read(source)
        except UNREADABLE as error:
            raise EpisodeInvalid(path.name, f"is no readable Arrow file ({first_line(error)})") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> "Episode":
        try:
            return cls._read(pa.BufferReader(data))
        except UNREADABLE as error:
            raise EpisodeInvalid("file", f"is no readable Arrow file ({first_line(error)})") from error

    @classmethod
    def _read(cls, source: pa.NativeFile) -> "Episode":
        reader = pa.ipc.open_file(source)
        meta = read_meta(reader.schema)
        if reader.num_record_batches != 1:
            raise EpisodeInvalid("file", f"has {reader.num_record_batches} record batches, not 1")
        for field in columns_of(meta.spec):
            if (found := reader.schema.names.count(field.name)) != 1:
                raise EpisodeInvalid(field.name, "is missing" if not found else "is there more than once")
            if (kind := reader.schema.field(field.name).type) != field.type:
                raise EpisodeInvalid(field.name, f"has the type {kind}, not {field.type}")
        return cls(reader.get_batch(0), meta)

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def column(self, name: str) -> Array:
        """(T, …): a column as an array, without a copy unless it is of bool, shaped as the spec says."""
        values = self._batch.column(name)
        if not pa.types.is_fixed_size_list(values.type):
            return values.to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]
        inner = values.flatten()
        flat = inner.to_numpy(zero_copy_only=not pa.types.is_boolean(inner.type))  # those are bits
        return flat.reshape(len(self), *self._shape(name))  # type: ignore[no-any-return]

    def state(self, name: str) -> Array:
        return self.column(f"state.{name}")

    @property
    def action(self) -> Array:
        """(T, A) float32: the actions that were really sent."""
        return self.column("action")

    @property
    def nbytes(self) -> int:
        """Of all columns, images among them."""
        return int(self._batch.nbytes)

    def jpeg_bytes(self, camera: str) -> int:
        """Of one camera's images."""
        return int(self._batch.column(f"image.{camera}").nbytes)

    @property
    def source(self) -> npt.NDArray[np.int8]:
        """(T,): who chose each frame's action."""
        return self.column("source")

    def jpeg(self, camera: str, index: int) -> bytes:
        """The compressed image of one frame."""
        return self._batch.column(f"image.{camera}")[index].as_py()  # type: ignore[no-any-return]

    def picture(self, camera: str, index: int) -> npt.NDArray[np.uint8]:
        """(h, w, 3): what a camera showed at one frame, as large as it was. Raises EpisodeInvalid naming the camera."""
        try:
            return decoded(self.jpeg(camera, index))
        except OSError as error:
            problem = f"can't be decoded at frame {index} of {self.meta.id} ({error})"
            raise EpisodeInvalid(f"image.{camera}", problem) from error

    def pictures(self, camera: str, frames: npt.NDArray[np.integer], height: int, width: int) -> npt.NDArray[np.uint8]:
        """(n, height, width, 3): what a camera showed at these frames, made smaller. Raises as `picture`."""
        pictures = np.empty((len(frames), height, width, 3), np.uint8)
        for row, frame in enumerate(frames.tolist()):
            pictures[row] = resized(self.picture(camera, frame), height, width)
        return pictures

    def interventions(self) -> list[tuple[int, int]]:
        """The runs of consecutive `human` frames as (first, one past the last)."""
        human = np.concatenate([[False], self.source == Source.HUMAN, [False]])
        edges = np.flatnonzero(human[1:] != human[:-1])
        return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]

    def _shape(self, name: str) -> tuple[int, ...]:
        if not name.startswith("state."):
            return self.meta.spec.action.shape
        return next(item.shape for item in self.meta.spec.state if item.name == name.removeprefix("state."))


def judged(episode: Episode, said: Sequence[Annotation]) -> Episode:
    """The episode with the outcome that holds after these annotations, in the order of their arrival."""
    outcome = standing(said, "outcome")
    if outcome is None:
        return episode
    judge = standing([item for item in said if item.outcome is not None], "judge")
    recorded = episode.meta.ending
    if recorded is not None and recorded.judge.rank > judge.rank:
        return episode
    ending = Ending(outcome, Judge(judge), recorded.ticks_missed if recorded else 0)
    return Episode(episode._batch, replace(episode.meta, ending=ending))


@lru_cache(maxsize=64)
def _spec(text: str) -> RobotSpec:
    """A fleet's episodes share a few specs, and reading one with its hash takes longer than the rest of a header."""
    return RobotSpec.from_json(json.loads(text))


def read_meta(schema: pa.Schema) -> EpisodeMeta:
    """Raises EpisodeInvalid if the schema carries no proper metadata."""
    raw = (schema.metadata or {}).get(META_KEY)
    if raw is None:
        raise EpisodeInvalid("metadata", f"has no {META_KEY.decode()!r}", "write it as docs/reference/episode.md says")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise EpisodeInvalid("metadata", f"is no JSON ({error})") from error
    if not isinstance(data, dict):
        raise EpisodeInvalid("metadata", "is no JSON object")
    if field := torn(data, "metadata"):
        raise EpisodeInvalid(field, "holds half a character (a lone surrogate), or NUL", "write whole ones")
    return EpisodeMeta.from_json(data)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -HUGE < value < HUGE


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
