"""The built-in policy as a robot runs it: the same network in plain numpy, for observations without images.

A robot then needs no torch, and a chunk costs a fraction of a millisecond: at a batch of one, most of torch's time is
its own overhead. `flow.py` is the reference; a test holds the two against each other.
"""

import copy
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.spec import PolicySpec
from fleetloop.policies.flow_options import (
    CLAMP,
    CONDITIONS,
    FREQUENCIES,
    POSITION_SCALE,
    YAW_SCALE,
    FlowOptions,
)
from fleetloop.policies.guidance import condition_rows, guided
from fleetloop.policies.scene_fields import has_scene, moves_grippers
from fleetloop.policies.scene_on_robot import SceneOnRobot
from fleetloop.policies.vocabulary import word_ids

LAYER_NORM_EPSILON = 1e-5
Weights = Mapping[str, npt.NDArray[Any]]


class Lead(NamedTuple):
    """What the trunk knows before the flow, and computes once for all Euler steps.

    The norms' scales and shifts are those that the condition has left, (depth, width) each.
    """

    projected: FloatArray  # (width,): the first layer's share
    scales: FloatArray
    shifts: FloatArray


class FlowOnRobot:
    """Acts as `FlowPolicy` does.

    Attributes:
        spec: what it consumes and emits.
        conditions: what it can act on.
    """

    conditions: ClassVar[frozenset[str]] = frozenset(CONDITIONS)

    def __init__(self, config: Mapping[str, Any], spec: PolicySpec, weights: Weights) -> None:
        """Raises ReleaseInvalid naming a tensor that is missing or does not fit."""
        self.spec, self.options, self._beta = spec, FlowOptions(**config), 1.0
        self._weights = {name: np.asarray(array, np.float32) for name, array in weights.items()}
        by_name = {feature.name: feature for feature in spec.inputs}
        self._scene = SceneOnRobot(by_name, self._tensor, self.options.pointers) if has_scene(spec.inputs) else None
        apart = {"entities", "mask", "names"} if self._scene else set()
        self._plain = [feature.name for feature in spec.inputs if feature.name not in apart]
        self._embedding = self._tensor("encoder.words.embedding.weight")
        self._statistics = {
            name: self._stated(name) for name in ("plain", *(("slots", "entity") if self._scene else ()))
        }
        steps = self.options.flow_steps
        times = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)
        phases = times[:, None] * FREQUENCIES
        self._shares = [np.float32(1 / (steps - step)) for step in range(steps)]  # of the way to the clean chunk
        size = self.options.horizon * spec.action.shape[0]
        # A norm begins by taking the mean away. Weights without it come to the same, once for all.
        flow = _centred(self._tensor("trunk.flow.weight").T)
        self._flow = np.ascontiguousarray(flow[:size])
        self._time_bias = np.concatenate([np.sin(phases), np.cos(phases)], 1) @ flow[size:]
        self._measured = self._centred_linear("trunk.measured")
        self._learned = _centred(self._tensor("trunk.learned.weight").T)
        depth = self.options.depth
        self._linears = [self._centred_linear(f"trunk.blocks.{index}.linear") for index in range(1, depth)]
        self._norm = [
            np.stack([self._tensor(f"trunk.blocks.{index}.norm.{part}") for index in range(depth)])
            for part in ("weight", "bias")
        ]
        self._frame: tuple[FloatArray, FloatArray] | None = None  # none where the grippers themselves are the origin
        if not moves_grippers(by_name.get("hands"), spec.action):
            self._frame = self._tensor("frame.stats.deviation"), self._tensor("frame.stats.mean")
        self._modulation, self._out = self._tensor("trunk.modulation"), self._linear("trunk.out")

    def guided(self, beta: float) -> "FlowOnRobot":
        """The same policy, with the same weights, to which a condition counts `beta` times; see `guidance.py`."""
        twin = copy.copy(self)
        twin._beta = beta
        return twin

    def chunk(
        self,
        observation: Observation,
        instruction: str,
        condition: str | None = None,
        *,
        rng: np.random.Generator,
        prefix: FloatArray | None = None,
        delay: int = 0,
    ) -> FloatArray:
        """(H, A) float32 in the robot's units; `condition` is `positive`, `negative` or None."""
        state = observation.state
        sentence = self._embedding[list(word_ids(instruction))].sum(axis=0)
        measured = [self._normalised("plain", np.concatenate([state[name].ravel() for name in self._plain]))]
        learned, anchors = [sentence], None
        if self._scene:
            seen = self._scene.see(state, sentence)
            measured.append(self._normalised("slots", seen.rows.ravel()))
            learned.append((seen.pointers @ self._normalised("entity", seen.rows)).ravel())
            anchors = seen.anchors
        found: FloatArray = np.concatenate(learned, dtype=np.float32)
        passes = [self._lead(measured, row, found) for row in condition_rows(condition, self._beta)]
        noise = rng.standard_normal((self.options.horizon, *self.spec.action.shape), dtype=np.float32)
        mixed: FloatArray = np.float32(self.options.temperature) * noise
        for share, time_bias in zip(self._shares, self._time_bias, strict=True):
            at = partial(self._clean, mixed=mixed, time_bias=time_bias, anchors=anchors)
            mixed = mixed + share * (guided(at, passes, self._beta) - mixed)
        return self._in_robot_units(mixed, state)

    def _lead(self, measured: list[FloatArray], condition: FloatArray, learned: FloatArray) -> Lead:
        weight, bias = self._measured
        row: FloatArray = np.concatenate([*measured, condition], dtype=np.float32)
        projected: FloatArray = row @ weight + bias + learned @ self._learned
        scale, shift = np.split(condition @ self._modulation, 2, axis=1)
        return Lead(projected, self._norm[0] * (1 + scale), self._norm[1] * (1 + scale) + shift)

    def _clean(self, lead: Lead, mixed: FloatArray, time_bias: FloatArray, anchors: FloatArray | None) -> FloatArray:
        hidden = _activated(lead.projected + mixed.ravel() @ self._flow + time_bias, lead.scales[0], lead.shifts[0])
        for (weight, bias), scale, shift in zip(self._linears, lead.scales[1:], lead.shifts[1:], strict=True):
            hidden = _activated(hidden @ weight + bias, scale, shift)
        out = hidden @ self._out[0] + self._out[1]
        clean = out[: mixed.size].reshape(mixed.shape)
        if anchors is None or self._scene is None or out.size == mixed.size:
            return clean
        return clean + self._scene.shift(out[mixed.size :], anchors)

    def _in_robot_units(self, mixed: FloatArray, state: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        if self._frame is not None:
            deviation, mean = self._frame
            return mixed * deviation + mean
        hands, field = state["hands"], self._hand_field
        origin = np.zeros((len(hands), 5), np.float32)
        origin[:, :3] = hands[:, [field("x"), field("y"), field("z")]]
        origin[:, 3] = np.arctan2(hands[:, field("sin_yaw")], hands[:, field("cos_yaw")])
        scale = np.tile(np.array([POSITION_SCALE] * 3 + [YAW_SCALE, 1], np.float32), len(hands))
        return mixed * scale + origin.ravel()

    def _hand_field(self, name: str) -> int:
        return next(item.fields.index(name) for item in self.spec.inputs if item.name == "hands")

    def _normalised(self, name: str, values: FloatArray) -> FloatArray:
        mean, deviation = self._statistics[name]
        scaled = (values - mean) / deviation
        normalised: FloatArray = np.minimum(np.maximum(scaled, -CLAMP), CLAMP)  # np.clip takes twice as long
        return normalised

    def _stated(self, name: str) -> tuple[FloatArray, FloatArray]:
        return self._tensor(f"encoder.stats.{name}.mean"), self._tensor(f"encoder.stats.{name}.deviation")

    def _centred_linear(self, name: str) -> tuple[FloatArray, FloatArray]:
        weight, bias = self._linear(name)
        return _centred(weight), _centred(bias)

    def _linear(self, name: str) -> tuple[FloatArray, FloatArray]:
        return np.ascontiguousarray(self._tensor(f"{name}.weight").T), self._tensor(f"{name}.bias")

    def _tensor(self, name: str) -> FloatArray:
        try:
            return self._weights[name]
        except KeyError:
            raise ReleaseInvalid(f"tensor {name}", "is missing") from None


def _centred(values: FloatArray) -> FloatArray:
    centred: FloatArray = values - values.mean(axis=-1, keepdims=True)
    return centred


def _activated(centred: FloatArray, scale: FloatArray, shift: FloatArray) -> FloatArray:
    """The trunk's norm and SiLU of (width,) values whose mean is 0 already."""
    hidden = centred * (scale / math.sqrt(centred @ centred / centred.size + LAYER_NORM_EPSILON)) + shift
    activated: FloatArray = hidden / (1 + np.exp(-hidden))
    return activated
