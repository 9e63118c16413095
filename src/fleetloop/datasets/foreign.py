"""Somebody else's data set: what its names are here, what its robot is, and who drove it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from blake3 import blake3
from ulid import ULID

from fleetloop.core.columns import COUNTERS
from fleetloop.core.episode import PURPOSES, Ending, EpisodeMeta
from fleetloop.core.errors import SpecMismatch, UnknownName
from fleetloop.core.frame import Array, Source
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec
from fleetloop.datasets.layout import ACTION, IMAGES, OWN, PURPOSE, numpy_of

NUMBERS = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Naming:
    """What the names in somebody else's data set are here.

    Attributes:
        tasks: instruction -> task id; an instruction that is not there becomes `imported/its-words`.
        features: column or camera key -> the robot's name for it; by default what follows `observation.` or
            `observation.images.`, and `action`.
        run, robot, site: that the episodes are put down to.
    """

    tasks: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)
    run: str = "imported"
    robot: str = "imported"
    site: str = "imported"

    def task(self, instruction: str) -> str:
        words = "".join(letter if letter.isalnum() else " " for letter in instruction.lower()).split()
        return self.tasks.get(instruction, f"imported/{'-'.join(words) or 'task'}")

    def feature(self, key: str) -> str:
        return self.features.get(key, key.removeprefix(IMAGES).removeprefix("observation."))


class Foreign:
    """What makes episodes of a data set's frames, where it has no metadata of ours.

    Args:
        info: as in info.json.
        tasks: its instructions, by number.

    Attributes:
        state_keys: its columns that become state features.
        camera_keys: camera -> its column.
        depth_keys: its columns of depth maps, which have 16 bits: a camera here has three times 8.
    """

    def __init__(self, info: Row, tasks: Mapping[int, str], naming: Naming) -> None:
        self._info, self._tasks, self._naming = info, tasks, naming
        self._features: Mapping[str, Row] = info["features"]
        self.state_keys = [key for key, one in self._features.items() if _is_state(key, one)]
        seen = [key for key, one in self._features.items() if one["dtype"] in ("image", "video")]
        self.depth_keys = [key for key in seen if _is_depth(self._features[key])]
        self._seen = [key for key in seen if key not in self.depth_keys]
        self.camera_keys = {naming.feature(key): key for key in self._seen}

    def check_naming(self) -> None:
        """Raises UnknownName for an instruction or a column that is named here and that the data set doesn't have,
        SpecMismatch for two that would have one name."""
        for what, keys in (("features", self.state_keys), ("cameras", self._seen)):
            for name, times in Counter(self._naming.feature(key) for key in keys).items():
                if times > 1:
                    found = " and ".join(key for key in keys if self._naming.feature(key) == name)
                    raise SpecMismatch(repr(name), f"is the name of {times} {what}: {found}", "rename all but one")
        features = {*self.state_keys, *self.camera_keys.values(), ACTION}
        for what, named, had in (
            ("instruction", self._naming.tasks, set(self._tasks.values())),
            ("column that becomes a feature or a camera", self._naming.features, features),
        ):
            for name in sorted(named.keys() - had):
                raise UnknownName(repr(name), f"is no {what} of the data set", f"it has {', '.join(sorted(had))}")

    @property
    def spec(self) -> RobotSpec:
        """Of the robot that the episodes are put down to."""
        naming = self._naming
        cameras = {name: self._features[key] for name, key in self.camera_keys.items()}
        return RobotSpec(
            embodiment=self._info.get("robot_type") or "unknown",
            state=tuple(_feature(naming.feature(key), self._features[key]) for key in self.state_keys),
            action=_feature(naming.feature(ACTION), self._features[ACTION], "float32"),
            control_hz=float(self._info["fps"]),
            cameras=tuple(CameraSpec(name, *_size(one)) for name, one in cameras.items()),
        )

    def meta(self, frames: pa.Table, known: Counter[bytes]) -> EpisodeMeta:
        """What it is known by, and how it ended.

        Args:
            known: how often the same was said, done and felt in this data set's episodes so far; counted on.
        """
        naming, instruction = self._naming, self._tasks[frames["task_index"][0].as_py()]
        won = "next.success" not in frames.column_names or any(frames["next.success"].to_pylist())
        return EpisodeMeta(
            id=self._id(frames, instruction, known),
            run=naming.run,
            robot=naming.robot,
            site=naming.site,
            task=naming.task(instruction),
            instruction=instruction,
            purpose=_purpose(frames),
            spec=self.spec,
            ending=Ending(Outcome.SUCCESS if won else Outcome.FAILURE, Judge.PERSON),
        )

    def _id(self, frames: pa.Table, instruction: str, known: Counter[bytes]) -> str:
        """No time is known; the same content is the same id. Of images it knows nothing, as decoders differ: episodes
        that differ in those alone, as the same motion before other backgrounds, are told apart by their order."""
        content = blake3(f"{instruction}\0".encode())
        for name in (*self.state_keys, ACTION):
            content.update(np.ascontiguousarray(self._numbers(frames, name)).tobytes())
        first = content.digest(10)
        if known[first]:
            content.update(known[first].to_bytes(8))
        known[first] += 1
        return str(ULID.from_bytes(bytes(6) + content.digest(10)))

    def columns(self, frames: pa.Table) -> dict[str, Any]:
        """An episode's columns but images, by name."""
        count, time = len(frames), frames["timestamp"].to_numpy().astype(np.float64)
        action = self._numbers(frames, ACTION).astype(np.float32)
        columns: dict[str, Any] = {
            "tick": frames["frame_index"].to_numpy(),
            "clock_s": time,
            "wall_s": time,
            "release": np.zeros(count),
            "chunk_id": np.full(count, -1),
            "chunk_index": np.full(count, -1),
            "action": action,
            "action_requested": action,
        }
        kept = {name: f"{OWN}{name}" for name in COUNTERS if f"{OWN}{name}" in frames.column_names}
        columns |= {name: frames[column].to_numpy() for name, column in kept.items()}
        columns["source"] = _source(frames)
        columns |= {f"state.{self._naming.feature(key)}": self._numbers(frames, key) for key in self.state_keys}
        columns |= {f"image_taken.{camera}": columns["clock_s"] for camera in self.camera_keys}
        return columns

    def _numbers(self, frames: pa.Table, key: str) -> Array:
        return numpy_of(frames[key], tuple(self._features[key]["shape"]))


def _purpose(frames: pa.Table) -> str:
    """As an export of ours says; else only what a person drove from its first frame to its last is a demonstration."""
    if PURPOSE in frames.column_names:
        return PURPOSES[frames[PURPOSE][0].as_py()]
    return "demonstration" if (_source(frames) == Source.HUMAN).all() else "online"


def _source(frames: pa.Table) -> npt.NDArray[np.int8]:
    """(T,): who drove, as an export of ours says, or anybody's with interventions; else a person."""
    if f"{OWN}source" in frames.column_names:  # what LeRobot rewrites keeps its columns, but no metadata of ours
        return numpy_of(frames[f"{OWN}source"], ()).astype(np.int8)
    if "intervention" in frames.column_names:
        human = numpy_of(frames["intervention"], ()).astype(bool)
        return np.where(human, np.int8(Source.HUMAN), np.int8(Source.POLICY))
    return np.full(len(frames), Source.HUMAN, np.int8)


def _is_state(key: str, said: Row) -> bool:
    return key.startswith("observation.") and said["dtype"] in NUMBERS


def _is_depth(said: Row) -> bool:
    """LeRobot has had three places for it."""
    info, before = said.get("info") or {}, said.get("video_info") or {}
    return any((info.get("is_depth_map"), info.get("video.is_depth_map"), before.get("video.is_depth_map")))


def _feature(name: str, said: Row, dtype: str = "") -> FeatureSpec:
    shape = tuple(int(size) for size in said["shape"])
    names = _names(said.get("names"))
    fields = names if shape and len(names) == shape[-1] else ()
    kept = "uint8" if said["dtype"] == "bool" else said["dtype"]  # a column that is mapped can hold no bits
    return FeatureSpec(name, shape, dtype or kept, fields=fields)


def _names(said: Any) -> tuple[str, ...]:
    """A list, or lists by what they name (`{"motors": […]}`), or each name's place (`{"x": 0, …}`)."""
    parts = list(said.values()) if isinstance(said, dict) else [said]
    if all(isinstance(part, int) for part in parts):
        return tuple(sorted(said, key=lambda name: said[name]))
    return tuple(str(name) for part in parts if isinstance(part, list) for name in part)


def _size(said: Row) -> tuple[int, int]:
    """Height and width, which stand in any order beside their names."""
    names = said.get("names") or ["height", "width", "channels"]
    sizes = dict(zip(names, said["shape"], strict=True))
    return int(sizes["height"]), int(sizes["width"])
