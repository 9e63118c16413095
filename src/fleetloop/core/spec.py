"""What robots offer and policies need, and whether the two fit."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any, NoReturn

import numpy as np
from blake3 import blake3

from fleetloop.core.errors import SpecMismatch

FASTEST_HZ = 1e6
RENAME = "where only names differ, set `PolicySpec.rename` in the policy's plug-in"


@dataclass(frozen=True)
class FeatureSpec:
    """One array of an observation or an action.

    Attributes:
        name: e.g. `hands`.
        shape: without the time axis.
        dtype: a numpy dtype's name.
        unit: in words, e.g. `m`.
        fields: what the entries along the last axis are; empty where they need no names.
        low, high: the limits of every element, when they are known.
        categories: for integer features, the word that each value stands for.
        label: True for what may serve as a training target but is never a policy's input (simulation's ground truth).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""
    fields: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    label: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError if there are more or fewer fields than entries."""
        if self.fields and (not self.shape or len(self.fields) != self.shape[-1]):
            raise ValueError(f"{self.name} has {len(self.fields)} fields and the shape {list(self.shape)}")

    def describe(self) -> str:
        return f"{self.name} {self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class CameraSpec:
    """One camera: frames of (height, width, 3) uint8."""

    name: str
    height: int
    width: int


@dataclass(frozen=True)
class RobotSpec:
    """What a robot observes and accepts.

    Attributes:
        embodiment: robots of one embodiment share normalisation statistics.
        state: the features of an observation.
        action: the feature that `Robot.act` takes.
        control_hz: ticks per second.
        cameras: in the order in which they are recorded.
    """

    embodiment: str
    state: tuple[FeatureSpec, ...]
    action: FeatureSpec
    control_hz: float
    cameras: tuple[CameraSpec, ...] = ()

    def hash(self) -> str:
        return self._hashed

    @cached_property
    def _hashed(self) -> str:
        """Asked for several times of each episode that is read."""
        return _hash(self)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RobotSpec":
        """Raises KeyError, TypeError or ValueError for what is no spec."""
        embodiment = data["embodiment"]
        if not isinstance(embodiment, str):
            raise ValueError(f"embodiment is {embodiment!r}, not a text")
        return cls(
            embodiment=embodiment,
            state=tuple(_feature(item) for item in data["state"]),
            action=_feature(data["action"]),
            control_hz=_control_hz(data),
            cameras=tuple(_camera(item) for item in data["cameras"]),
        )


@dataclass(frozen=True)
class PolicySpec:
    """What a policy consumes and emits.

    Attributes:
        inputs: state features, by the policy's own names.
        cameras: image inputs at the resolution that the policy wants.
        action: shape of one action.
        horizon: actions in a chunk.
        execute: how many of them are played before the next chunk takes over.
        control_hz: the tick rate that the chunk is meant for.
        rename: the policy's feature or camera name -> the robot's, where they differ.

    Raises:
        SpecMismatch: unless it plays one action at least, and no more than there are.
    """

    inputs: tuple[FeatureSpec, ...]
    action: FeatureSpec
    horizon: int
    execute: int
    control_hz: float
    cameras: tuple[CameraSpec, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.execute <= self.horizon:
            problem = f"the policy plays {self.execute} of the {self.horizon} actions of a chunk"
            raise SpecMismatch("execute", problem, "play at least one, and no more than there are")

    def hash(self) -> str:
        return _hash(self)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PolicySpec":
        """Raises KeyError, TypeError or ValueError for what is no spec."""
        return cls(
            inputs=tuple(_feature(item) for item in data["inputs"]),
            action=_feature(data["action"]),
            horizon=_count(data, "horizon"),
            execute=_count(data, "execute"),
            control_hz=_control_hz(data),
            cameras=tuple(_camera(item) for item in data["cameras"]),
            rename=dict(data["rename"]),
        )


def check_fit(robot: RobotSpec, policy: PolicySpec) -> None:
    """Raise unless the robot offers every input of the policy and accepts its actions.

    Units and fields are compared where both sides name them; limits may differ.

    Raises:
        SpecMismatch: naming the feature, with both sides shown.
    """
    offered = {feature.name: feature for feature in robot.state if not feature.label}
    for needed in policy.inputs:
        name = policy.rename.get(needed.name, needed.name)
        given = offered.get(name)
        if given is None or (given.shape, given.dtype) != (needed.shape, needed.dtype):
            _refuse(name, needed.describe(), given.describe() if given else ", ".join(offered) or "nothing")
        if needed.categories and given.categories != needed.categories:
            _refuse(name, f"the words {needed.categories[:4]}…", f"the words {given.categories[:4]}…")
        _check_meaning(name, needed, given)
    cameras = {camera.name for camera in robot.cameras}
    for camera in policy.cameras:
        name = policy.rename.get(camera.name, camera.name)
        if name not in cameras:
            _refuse(name, f"camera {camera.name}", f"cameras {sorted(cameras) or 'none'}")
    if robot.action.shape != policy.action.shape:
        _refuse(robot.action.name, policy.action.describe(), robot.action.describe())
    _check_meaning(robot.action.name, policy.action, robot.action)
    if robot.control_hz != policy.control_hz:
        _refuse("control_hz", f"{policy.control_hz} Hz", f"{robot.control_hz} Hz")


def _check_meaning(name: str, needed: FeatureSpec, given: FeatureSpec) -> None:
    """Arrays of one shape may still hold other things; a side that names no unit, or no fields, says nothing."""
    if needed.unit and given.unit and needed.unit != given.unit:
        _refuse(name, f"it in {needed.unit}", f"it in {given.unit}", "let the robot's code convert it")
    if needed.fields and given.fields and needed.fields != given.fields:
        pairs = enumerate(zip_longest(needed.fields, given.fields, fillvalue="nothing"))
        index, (wanted, there) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
        _refuse(
            f"{name}[{index}]",
            f"{wanted}, of {', '.join(needed.fields)}",
            f"{there}, of {', '.join(given.fields)}",
            "let the robot's code put them in the policy's order, or correct their names",
        )


def _refuse(name: str, needed: str, given: str, remedy: str = RENAME) -> NoReturn:
    said = f"the policy needs {needed}; the robot offers {given}"
    raise SpecMismatch(name, said, f"{remedy}; else choose another policy")


def _feature(data: Mapping[str, Any]) -> FeatureSpec:
    values = dict(data)
    values["shape"] = tuple(values["shape"])
    values["fields"] = tuple(values["fields"])
    values["categories"] = tuple(values["categories"])
    if not all(isinstance(size, int) and size > 0 for size in values["shape"]):
        raise ValueError(f"{values['name']} has the shape {list(values['shape'])}")
    texts = [values["name"], values["dtype"], values.get("unit", ""), *values["fields"], *values["categories"]]
    if odd := [text for text in texts if not isinstance(text, str)]:
        raise ValueError(f"{values['name']} says {odd[0]!r} where a text is meant")
    if not isinstance(values.get("label", False), bool):
        raise ValueError(f"label is {values['label']!r} for {values['name']}, neither true nor false")
    for limit in (values.get("low"), values.get("high")):
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
            raise ValueError(f"{values['name']} has the limit {limit!r}, not one number for all of it")
    if not re.fullmatch(r"\w+", values["dtype"]) or np.dtype(values["dtype"]).kind not in "biuf":
        raise ValueError(f"{values['name']} has the dtype {values['dtype']}, which is no kind of number")
    return FeatureSpec(**values)


def _camera(data: Mapping[str, Any]) -> CameraSpec:
    if not isinstance(data["name"], str):
        raise ValueError(f"a camera's name is {data['name']!r}, not a text")
    return CameraSpec(**{**data, "height": _count(data, "height"), "width": _count(data, "width")})


def _count(data: Mapping[str, Any], name: str) -> int:
    count = data[name]
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"{name} is {count!r}, not a whole number above 0")
    return count


def _control_hz(data: Mapping[str, Any]) -> float:
    hz = data["control_hz"]
    if isinstance(hz, bool) or not isinstance(hz, int | float) or not 0 < hz < FASTEST_HZ:
        raise ValueError(f"control_hz is {hz!r}, not a positive number")
    return hz


def _hash(spec: RobotSpec | PolicySpec) -> str:
    return blake3(json.dumps(asdict(spec), sort_keys=True).encode()).hexdigest()
