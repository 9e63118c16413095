"""Normalisation: computed once from demonstrations, frozen for the run, shipped with every release."""

import torch
from torch import Tensor, nn

from fleetloop.policies.flow_options import CLAMP

LEAST_DEVIATION = 0.05


class Statistics(nn.Module):
    """Mean and standard deviation of each of `width` numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    mean: Tensor
    deviation: Tensor

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take the statistics over all but the last axis."""
        flat = values.reshape(-1, values.shape[-1])
        self.mean.copy_(flat.mean(dim=0))
        self.deviation.copy_(flat.std(dim=0).clamp(min=LEAST_DEVIATION))

    def forward(self, values: Tensor) -> Tensor:
        scale = 1 / self.deviation
        return torch.addcmul(-self.mean * scale, values, scale).clamp_(-CLAMP, CLAMP)  # one pass less over a large row
