"""The built-in policy's value network: the same encoder under a head of its own, beside the trunk and apart from it."""

import copy
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetloop.core.critic import Sights
from fleetloop.core.episode import Episode
from fleetloop.core.spec import PolicySpec
from fleetloop.policies.encoder import Encoder
from fleetloop.policies.words import padded_ids


class FlowCritic(nn.Module):
    """Observation and instruction -> logits over the bins of the return. Implements core's Critic.

    Its encoder starts as a copy of the policy's: what the words mean is known, and the statistics are the run's.
    """

    def __init__(self, encoder: Encoder, spec: PolicySpec, *, width: int, bins: int) -> None:
        super().__init__()
        self._spec = spec
        self.encoder = copy.deepcopy(encoder)
        self.head = nn.Sequential(
            nn.Linear(encoder.measured_width + encoder.learned_width, width),
            nn.LayerNorm(width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.SiLU(),
            nn.Linear(width, bins),
        )

    def look(self, episode: Episode, frames: npt.NDArray[np.intp]) -> Sights:
        """The policy's state features, and the images at its resolution or what frozen eyes find in them."""
        recorded = self._spec.rename
        state = {item.name: episode.state(recorded.get(item.name, item.name))[frames] for item in self._spec.inputs}
        images = {
            camera.name: episode.pictures(
                recorded.get(camera.name, camera.name), frames, height=camera.height, width=camera.width
            )
            for camera in self._spec.cameras
        }
        return {**state, **self.encoder.features(state, images)} if images else state

    def logits(self, sights: Sights, instructions: Sequence[str], instruction: npt.NDArray[np.int64]) -> Tensor:
        """(n, bins)."""
        tensors = {name: torch.from_numpy(array) for name, array in sights.items()}
        images = {camera.name: tensors.pop(camera.name) for camera in self._spec.cameras if camera.name in tensors}
        encoded = self.encoder(tensors, images, padded_ids(tuple(instructions)), torch.from_numpy(instruction))
        logits: Tensor = self.head(torch.cat([encoded.measured, encoded.learned], 1))
        return logits
