"""Episodes and releases by the thousand, at next to no cost: one is made, the others are stamped from it."""

import time

import numpy as np
import pyarrow as pa
from blake3 import blake3

from fleetloop.core.episode import CONTENT_KEY, META_KEY, Ending, EpisodeMeta, schema_of
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import seal_bytes
from fleetloop.core.release import Release
from fleetloop.core.spec import FeatureSpec, PolicySpec, RobotSpec
from fleetloop.core.validation import content_hash
from fleetloop.weights.codec import encode

RUN, TASK = "bench", "bench/task"
FRAMES = 950  # of joints alone: 0.2 MB
JOINTS = FeatureSpec("joints", (14,))
SPEC = RobotSpec("bench", (JOINTS,), JOINTS, 20.0)
POLICY = PolicySpec((JOINTS,), JOINTS, horizon=8, execute=4, control_hz=20.0)
WEIGHTS = 10_000


class Stamp:
    """A sealed episode under ever new ids.

    Attributes:
        data: the bytes of the first.
    """

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._id, self._robot = new_id(time.time(), self._rng), "robot-0000"
        ending = Ending(Outcome.SUCCESS, Judge.SIMULATOR)
        meta = EpisodeMeta(self._id, RUN, self._robot, "site-1", TASK, "", "online", SPEC, ending=ending)
        self.data = seal_bytes([_frames(meta, self._rng)], meta)
        with pa.ipc.open_file(self.data) as file:
            self._batch = file.get_batch(0)
        self._meta, self._content = (self._batch.schema.metadata[key] for key in (META_KEY, CONTENT_KEY))

    def episode(self, robot: str) -> tuple[str, bytes, str]:
        """Id, bytes and hash of another one; `robot` has as many letters as any other."""
        id = new_id(time.time(), self._rng)
        changes = {self._id.encode(): id.encode(), self._robot.encode(): robot.encode()}
        changes[self._content] = content_hash(self._batch, _changed(self._meta, changes))
        data = _changed(self.data, changes)
        return id, data, blake3(data).hexdigest()


def _changed(data: bytes, changes: dict[bytes, bytes]) -> bytes:
    for old, new in changes.items():
        data = data.replace(old, new)
    return data


def _frames(meta: EpisodeMeta, rng: np.random.Generator) -> pa.RecordBatch:
    schema, columns = schema_of(meta), []
    for field in schema:
        if pa.types.is_fixed_size_list(field.type):
            flat = rng.normal(size=FRAMES * field.type.list_size).astype(np.float32)
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), type=field.type))
        else:
            values = np.zeros(FRAMES) if field.name == "source" else np.arange(FRAMES)
            columns.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def release(number: int) -> tuple[Release, dict[str, bytes]]:
    """A manifest as a learner would publish it after `number` others, and its blobs."""
    encoded = encode({"weight": np.random.default_rng(number).normal(size=WEIGHTS).astype(np.float32)})
    manifest = Release(
        run=RUN,
        step=number,
        parent=number,
        trained_through=0,
        policy={"name": "bench"},
        spec=POLICY.to_json(),
        spec_hash=POLICY.hash(),
        config_hash="bench",
        statistics_hash="bench",
        conditions=(),
        tensors=encoded.tensors,
        encodings=(encoded.encoding(),),
        result_hash=encoded.result_hash,
        clock_s=time.monotonic(),
    )
    return manifest, dict(encoded.blobs)
