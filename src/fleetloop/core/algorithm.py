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
        weight: (T,) float32, how often the sample is drawn beside the others of its task and part; 0 for never.
        indicator: (T,) int8, 1 positive, 0 negative, -1 none.
        version: the label version that they belong to; 0 for an algorithm whose labels never change.
    """

    train: npt.NDArray[np.bool_]
    stop: npt.NDArray[np.int32]
    weight: FloatArray
    indicator: npt.NDArray[np.int8]
    version: int = 0


class Refresh(Protocol):
    """The next label version in the making, beside the training loop.

    `work` may be called from another thread than the rest; it touches nothing that the algorithm labels or trains by.
    """

    def work(self) -> None:
        """One bounded slice, some tens of milliseconds; nothing once it is ready. Repeatable: no clock, own seeds.

        Raises HubUnavailable if an episode can't be fetched now: it is called again later.
        """
        ...

    def add(self, episode: Episode) -> None:
        """Label this one by the next version too, which came meanwhile, or which filters leave out. From any thread."""
        ...

    @property
    def ready(self) -> bool:
        """Whether every episode has its next labels."""
        ...

    @property
    def labels(self) -> Mapping[str, FrameLabels]:
        """By episode, once it is ready: `train` and `stop` as before, under the next version. Those that are not there,
        because they can't be read any more, are learned from no longer."""
        ...


class Algorithm(Protocol):
    """One cartridge.

    Attributes:
        name: by which a run's configuration names it.
        conditions: what a robot's policy may be conditioned on; named in every manifest.
        condition: the one of them that robots act on; empty for none.
    """

    name: ClassVar[str]
    conditions: ClassVar[frozenset[str]]
    condition: ClassVar[str]

    def setup(self, policy: TrainablePolicy) -> None:
        """Called once, with the policy that is about to learn, before anything else.

        Raises FleetLoopError if the algorithm needs something that this policy does not offer.
        """
        ...

    @property
    def version(self) -> int:
        """The label version under which `label` works; the learner trains under exactly one at a time."""
        ...

    @property
    def alarm(self) -> str:
        """What it can't do with the experience so far, in words; empty if nothing."""
        ...

    def label(self, episode: Episode) -> FrameLabels:
        """Which frames of a demonstration or of an online episode train, and how.

        Pure for a given version. May be called from another thread than the one that trains.
        """
        ...

    def loss(self, policy: TrainablePolicy, batch: Batch, *, rng: Tensor) -> Tensor:
        """(B,) per-sample losses, so that the sampler can see each one."""
        ...

    def refresh(self, episodes: Mapping[str, Episode], step: int) -> Refresh | None:
        """Begin the next label version, if one is due after `step` optimizer steps; else None. Asked before each step.

        `episodes` is everything that trains, by id, in order of arrival; each look-up opens a file. It keeps changing:
        a refresh copies the ids and nothing else.
        """
        ...

    def switch(self, refresh: Refresh) -> None:
        """Label by this version from now on; between two steps, once it is ready."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """What must survive a restart: JSON values and numpy arrays."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """After `setup`, before anything is labelled."""
        ...


class FixedLabels:
    """A base for algorithms whose labels depend on the episode alone: one version, nothing to keep."""

    conditions: ClassVar[frozenset[str]] = frozenset()
    condition: ClassVar[str] = ""
    version, alarm = 0, ""

    def setup(self, policy: TrainablePolicy) -> None:
        """Any policy will do."""

    def loss(self, policy: TrainablePolicy, batch: Batch, *, rng: Tensor) -> Tensor:
        """The policy's own: behaviour cloning of whatever `label` lets train."""
        return policy.loss(batch, rng=rng)

    def refresh(self, episodes: Mapping[str, Episode], step: int) -> Refresh | None:
        return None

    def switch(self, refresh: Refresh) -> None:
        """There is never another version."""

    def state_dict(self) -> Mapping[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to take back."""
