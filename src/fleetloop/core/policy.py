"""The seams to a policy: one that acts (numpy, on a robot) and one that trains (a torch module in practice)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import Array, FloatArray, Observation
from fleetloop.core.spec import PolicySpec

Tensor = Any  # a torch.Tensor; core does not import torch


@dataclass(frozen=True)
class Batch:
    """Samples for one optimizer step. A sample is (frame t, actions t … t+H-1).

    Attributes:
        state: policy's input name -> (B, …); label features are among them when the robot records any.
        images: camera name -> (B, h, w, 3) uint8.
        instructions: the different instructions of the batch; `instruction` (B,) int64 indexes them.
        actions: (B, H, A) float32, in the robot's units.
        mask: (B, H) float32, 0 where the target ends before the horizon.
        weight: (B,) float32, from the algorithm's labels.
        indicator: (B,) int8, the algorithm's condition: 1 positive, 0 negative, -1 none.
        task: (B,) int64 index into the learner's task list; online: (B,) bool, which buffer.
    """

    state: Mapping[str, Array]
    images: Mapping[str, npt.NDArray[np.uint8]]
    instructions: tuple[str, ...]
    instruction: npt.NDArray[np.int64]
    actions: FloatArray
    mask: FloatArray
    weight: FloatArray
    indicator: npt.NDArray[np.int8]
    task: npt.NDArray[np.int64]
    online: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.actions)


class ActingPolicy(Protocol):
    """Turns an observation into a chunk of actions."""

    spec: PolicySpec

    def chunk(
        self,
        observation: Observation,
        instruction: str,
        condition: str | None,
        *,
        rng: np.random.Generator,
        prefix: FloatArray | None = None,
        delay: int = 0,
    ) -> FloatArray:
        """(H, A) float32 actions for the ticks from the observation's on.

        `prefix` (K, A) are actions already under way, of which the first `delay` can no longer be changed.
        """
        ...


class Renamed:
    """A policy whose names for features or cameras are not the robot's: `spec.rename` says which are which."""

    def __init__(self, policy: ActingPolicy) -> None:
        self.spec, self._policy = policy.spec, policy

    def chunk(
        self,
        observation: Observation,
        instruction: str,
        condition: str | None,
        *,
        rng: np.random.Generator,
        prefix: FloatArray | None = None,
        delay: int = 0,
    ) -> FloatArray:
        """As the policy's own, for an observation under the robot's names."""
        own = self.spec.rename
        state = {item.name: observation.state[own.get(item.name, item.name)] for item in self.spec.inputs}
        images = {item.name: observation.images[own.get(item.name, item.name)] for item in self.spec.cameras}
        seen = replace(observation, state=state, images=images)
        return self._policy.chunk(seen, instruction, condition, rng=rng, prefix=prefix, delay=delay)


def under_robot_names(policy: ActingPolicy) -> ActingPolicy:
    """The policy as the robot calls it."""
    return Renamed(policy) if policy.spec.rename else policy


class TrainablePolicy(ActingPolicy, Protocol):
    """A policy that learns. In practice a `torch.nn.Module`: the learner asks for its parameters and its state."""

    def loss(self, batch: Batch, *, rng: Tensor) -> Tensor:
        """(B,) losses, unweighted; `rng` is a torch.Generator."""
        ...

    def fit_statistics(self, batch: Batch) -> None:
        """Compute the normalisation statistics from a large batch, once; they are frozen for the run."""
        ...
