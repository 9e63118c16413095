"""A tiny policy that a critic judges."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from learner_world import ROBOT, TinyPolicy
from torch import nn

from fleetloop.core.episode import Episode
from fleetloop.learner.base import Base


class TinyCritic(nn.Module):
    """Position in, logits out. Implements core's Critic."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, bins))

    def look(self, episode: Episode, frames: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"position": episode.state("position")[frames]}

    def logits(self, sights: Mapping[str, np.ndarray], instructions: Sequence[str], instruction: np.ndarray) -> Any:
        return self.body(torch.from_numpy(sights["position"]))


class JudgedPolicy(TinyPolicy):
    """A tiny policy that offers a critic."""

    def critic(self, bins: int) -> TinyCritic:
        return TinyCritic(bins)


def judged_base(seed: int = 0) -> Base:
    torch.manual_seed(seed)
    return Base(JudgedPolicy(), "tiny", ROBOT)
