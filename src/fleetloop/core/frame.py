"""One control tick: what was seen, who chose the action, what was sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]


class Source(IntEnum):
    """Who chose a frame's action. Only HUMAN frames count as corrections."""

    POLICY = 0
    HUMAN = 1
    HOLD = 2
    BLEND = 3


@dataclass(frozen=True)
class Observation:
    """What a robot sensed.

    Attributes:
        state: feature name -> array of the shape that the RobotSpec states.
        images: camera name -> (height, width, 3) uint8; empty for a robot that shows none.
        taken: clock seconds at which the state was read.
        images_taken: clock seconds at which each image was taken.
    """

    state: Mapping[str, Array]
    taken: float
    images: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    images_taken: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """A run of future actions: `actions[i]`, (A,), is meant for tick `tick + i`.

    Attributes:
        id: counts up within an episode.
        tick: the tick of the observation that the chunk was made from.
        actions: (H, A) float32.
        release: the version of the weights that made it.
    """

    id: int
    tick: int
    actions: FloatArray
    release: int


@dataclass(frozen=True)
class Frame:
    """One control tick as it is recorded.

    Attributes:
        tick: since the episode's reset; a missed tick leaves a gap.
        clock_s, wall_s: the fleet's clock and Unix time, both in seconds.
        requested: (A,) the action that `source` asked for.
        sent: (A,) what the robot really took after its limits.
        release: version of the weights in use; chunk_id and chunk_index say which action of which chunk was taken; -1
            if it is from none.
    """

    tick: int
    clock_s: float
    wall_s: float
    observation: Observation
    requested: FloatArray
    sent: FloatArray
    source: Source
    release: int
    chunk_id: int
    chunk_index: int
