"""The seam to an algorithm: the cartridge that turns experience into updates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fleetloop.core.episode import Episode
from fleetloop.core.frame import FloatArray
from fleetloop.core.policy import Batch, Tensor, TrainablePolicy


@dataclass(frozen=True)
class FrameLabels:
    """What an algorithm makes of an episode of T frames.

    Attributes:
        train: (T,) bool, whether a sample may start at this frame.
        stop: (T,) int32, one past the last frame whose action may be a target of a sample that starts here.
        weight: (T,) float32, the sample's share in the loss.
        indicator: (T,) int8, 1 positive, 0 negative, -1 none.
    """

    train: npt.NDArray[np.bool_]
    stop: npt.NDArray[np.int32]
    weight: FloatArray
    indicator: npt.NDArray[np.int8]


class Algorithm(Protocol):
    """One cartridge.

    Attributes:
        name: by which a run's configuration names it.
        conditions: what a robot's policy may be conditioned on; named in every manifest.
    """

    name: ClassVar[str]
    conditions: ClassVar[frozenset[str]]

    def label(self, episode: Episode) -> FrameLabels:
        """Which frames of a demonstration or of an online episode train, and how. Pure."""
        ...

    def loss(self, policy: TrainablePolicy, batch: Batch, *, rng: Tensor) -> Tensor:
        """(B,) per-sample losses, so that the sampler can see each one."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """What must survive a restart: JSON values and numpy arrays."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
