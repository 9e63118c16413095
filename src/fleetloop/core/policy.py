"""The seams to a policy: one that acts (numpy, on a robot) and one that trains (a torch module in practice)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.frame import Array, FloatArray, Observation
from fleetloop.core.picture import resized
from fleetloop.core.spec import PolicySpec

Tensor = Any  # a torch.Tensor; core does not import torch


@dataclass(frozen=True)
class Batch:
    """Samples for one optimizer step. A sample is (frame t, actions t … t+H-1).

    Attributes:
        state: policy's input name -> (B, …); label features are among them when the robot records any.
        seen: camera name -> (B, h, w, 3) uint8 images; or, from a policy with `features`, what those are, (B, …) each.
        instructions: the different instructions of the batch; `instruction` (B,) int64 indexes them.
        actions: (B, H, A) float32, in the robot's units.
        mask: (B, H) float32, 0 where the target ends before the horizon.
        indicator: (B,) int8, the algorithm's condition: 1 positive, 0 negative, -1 none.
        task: (B,) int64 index into the learner's task list; online: (B,) bool, which buffer.
    """

    state: Mapping[str, Array]
    seen: Mapping[str, Array]
    instructions: tuple[str, ...]
    instruction: npt.NDArray[np.int64]
    actions: FloatArray
    mask: FloatArray
    indicator: npt.NDArray[np.int8]
    task: npt.NDArray[np.int64]
    online: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.actions)


Features = Callable[[Mapping[str, Array], Mapping[str, npt.NDArray[np.uint8]]], Mapping[str, Array]]
"""See `HasFeatures`."""


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

        The observation is under the policy's own names, and its images are at the resolution of `spec.cameras`, as in
        `Batch.seen`: whoever drives a robot sees to that. `prefix` (K, A) are actions already under way, of which the
        first `delay` can no longer be changed.
        """
        ...


class Renamed:
    """A policy as a robot calls it: with the robot's names, which `spec.rename` maps, and with its pictures as large as
    they are taken. The policy gets them as small as it was trained on, made so by the same function.
    """

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
        images = {
            item.name: resized(observation.images[own.get(item.name, item.name)], item.height, item.width)
            for item in self.spec.cameras
        }
        seen = replace(observation, state=state, images=images)
        return self._policy.chunk(seen, instruction, condition, rng=rng, prefix=prefix, delay=delay)


def under_robot_names(policy: ActingPolicy) -> ActingPolicy:
    """The policy as the robot calls it: by its own names, with pictures of its own size."""
    return Renamed(policy) if policy.spec.rename or policy.spec.cameras else policy


class TrainablePolicy(ActingPolicy, Protocol):
    """A policy that learns. In practice a `torch.nn.Module`: the learner asks for its parameters and its state."""

    def loss(self, batch: Batch, *, rng: Tensor) -> Tensor:
        """(B,) losses; `rng` is a torch.Generator."""
        ...

    def fit_statistics(self, batch: Batch) -> None:
        """Compute the normalisation statistics from a large batch, once; they are frozen for the run."""
        ...


class HasFeatures(Protocol):
    """A policy of which a part never changes in a run, frozen eyes say: what that makes of a frame is computed once,
    when the frame reaches the learner, and kept in place of its images."""

    def features(
        self, recorded: Mapping[str, Array], images: Mapping[str, npt.NDArray[np.uint8]]
    ) -> Mapping[str, Array]:
        """What `Batch.seen` is to hold of n frames: name -> (n, …).

        `images` are (n, h, w, 3) at the spec's resolution. `recorded` is all state that the robot recorded, labels
        too: what is no input of the policy may serve as a training target, and for nothing else.
        """
        ...


@runtime_checkable
class NamesConditions(Protocol):
    """A policy that says what it can be conditioned on; nothing else may be asked of it, and no robot takes a release
    that would."""

    conditions: frozenset[str]


def check_conditions(policy: object, wanted: Collection[str]) -> None:
    """Raise ConfigInvalid unless the policy can be conditioned on all of these, as far as it says."""
    if isinstance(policy, NamesConditions) and (odd := sorted(set(wanted) - set(policy.conditions))):
        known = ", ".join(sorted(policy.conditions)) or "none"
        raise ConfigInvalid("condition", f"{', '.join(map(repr, odd))} is unknown to the policy", f"it knows: {known}")


class HasGuidance(Protocol):
    """A policy that can act on more of a condition than there is in its data."""

    def guided(self, beta: float) -> ActingPolicy:
        """The same policy, to which a condition counts `beta` times: what it would do without the condition, plus
        `beta` times what the condition changes about that."""
        ...


class HasDistance(Protocol):
    """A policy that can tell how far its answers are from another's; what `learner.anchor.kl` needs."""

    def distance(self, other: Any, batch: Batch, *, rng: Tensor) -> Tensor:
        """(B,) at least 0, with gradient: from what this policy answers on each sample to what `other` answers.

        `other` is a frozen policy of the same class. The KL divergence where there is one in closed form.
        """
        ...
