"""The seam to a value network: how good an observation is, judged by a sibling of the policy's trunk."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fleetloop.core.episode import Episode
from fleetloop.core.frame import Array
from fleetloop.core.policy import Tensor

Sights = Mapping[str, Array]
"""What a critic takes of n frames: name -> (n, …). Those of several episodes can be concatenated."""


class Critic(Protocol):
    """In practice a `torch.nn.Module`. It is used for labelling only, never on a robot."""

    def look(self, episode: Episode, frames: npt.NDArray[np.intp]) -> Sights:
        """What it takes of these frames. Raises EpisodeInvalid if an image can't be decoded."""
        ...

    def logits(self, sights: Sights, instructions: Sequence[str], instruction: npt.NDArray[np.int64]) -> Tensor:
        """(n, bins) float32; frame i is judged under the words `instructions[instruction[i]]`."""
        ...

    def parameters(self) -> Any: ...

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any: ...


class HasCritic(Protocol):
    """What a policy must offer to be trained by an algorithm that needs values."""

    def critic(self, bins: int) -> Critic:
        """A fresh one that observes as the policy does, its statistics included."""
        ...
