"""What a Gymnasium environment takes, and the row of numbers that stands for it."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from fleetloop.core.errors import SpecMismatch
from fleetloop.core.frame import FloatArray
from fleetloop.core.spec import FeatureSpec


class Actions(Protocol):
    """One action space."""

    @property
    def feature(self) -> FeatureSpec: ...

    def native(self, action: FloatArray) -> tuple[Any, FloatArray]:
        """What the environment takes, and the (A,) action that this is."""
        ...


def actions_of(space: spaces.Space[Any], *, scale: bool) -> Actions:
    """Raises SpecMismatch for a space of another kind, and for `scale` without limits to stretch to."""
    if scale and not (isinstance(space, spaces.Box) and space.is_bounded()):
        raise SpecMismatch("action", f"{space} has no limits to stretch to", "leave `scale_actions` off")
    match space:
        case spaces.Box():
            return Stretched(space) if scale else Clipped(space)
        case spaces.Discrete() | spaces.MultiDiscrete():
            return Choices(space)
        case spaces.MultiBinary():
            return Switches(space)
    problem, remedy = f"the action space is {space}", "wrap it into a Box, or a discrete or binary one"
    raise SpecMismatch("action", problem, remedy)


@dataclass(frozen=True)
class Clipped:
    """Numbers within the space's limits."""

    space: spaces.Box

    @property
    def feature(self) -> FeatureSpec:
        low, high = float(self.space.low.min()), float(self.space.high.max())
        limits = (low, high) if np.isfinite([low, high]).all() else (None, None)
        return FeatureSpec("action", (spaces.flatdim(self.space),), low=limits[0], high=limits[1])

    def native(self, action: FloatArray) -> tuple[Any, FloatArray]:
        taken = _taken(self.space, np.asarray(action, np.float64))
        return taken.reshape(self.space.shape), taken.astype(np.float32)


@dataclass(frozen=True)
class Stretched:
    """−1 to 1, which stand for the space's limits."""

    space: spaces.Box

    @property
    def feature(self) -> FeatureSpec:
        return FeatureSpec("action", (spaces.flatdim(self.space),), low=-1.0, high=1.0)

    def native(self, action: FloatArray) -> tuple[Any, FloatArray]:
        low, high = (limit.ravel().astype(np.float64) for limit in (self.space.low, self.space.high))
        sent = np.clip(action, -1, 1).astype(np.float32)
        taken = _taken(self.space, low + (sent.astype(np.float64) + 1) / 2 * (high - low))
        if _whole(self.space):
            sent = ((taken - low) / np.maximum(high - low, 1) * 2 - 1).astype(np.float32)
        return taken.reshape(self.space.shape), sent


def _whole(space: spaces.Box) -> bool:
    return np.issubdtype(space.dtype, np.integer)


def _taken(space: spaces.Box, action: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """(A,) in the space's dtype, and within its limits in that dtype: whole numbers are the nearest ones."""
    given = np.rint(action) if _whole(space) else action
    # First in float64, so that nothing wraps around; then in the space's own, which rounds.
    low, high = space.low.ravel(), space.high.ravel()
    return np.clip(np.clip(given, low, high).astype(space.dtype), low, high)


@dataclass(frozen=True)
class Choices:
    """One choice or several: a number for each that may be chosen, one choice after the other; the largest is."""

    space: spaces.Discrete | spaces.MultiDiscrete

    @property
    def feature(self) -> FeatureSpec:
        return FeatureSpec("action", (spaces.flatdim(self.space),), unit="largest is chosen")

    def native(self, action: FloatArray) -> tuple[Any, FloatArray]:
        sizes = [int(self.space.n)] if isinstance(self.space, spaces.Discrete) else self.space.nvec.ravel().tolist()
        parts = np.split(np.asarray(action), np.cumsum(sizes)[:-1])
        chosen = [int(np.argmax(part)) for part in parts]
        sent = np.concatenate([np.eye(size, dtype=np.float32)[one] for size, one in zip(sizes, chosen, strict=True)])
        if isinstance(self.space, spaces.Discrete):
            return self.space.start + chosen[0], sent
        return (self.space.start + np.reshape(chosen, self.space.shape)).astype(self.space.dtype), sent


@dataclass(frozen=True)
class Switches:
    """A number each, which is on from a half on."""

    space: spaces.MultiBinary

    @property
    def feature(self) -> FeatureSpec:
        return FeatureSpec("action", (spaces.flatdim(self.space),), low=0.0, high=1.0, unit="on from 0.5 on")

    def native(self, action: FloatArray) -> tuple[Any, FloatArray]:
        on = np.asarray(action) >= 0.5
        return on.reshape(self.space.shape).astype(self.space.dtype), on.astype(np.float32)
