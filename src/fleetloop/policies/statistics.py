"""Normalisation: computed once from demonstrations, frozen for the run, shipped with every release."""

import torch
from torch import Tensor, nn

from fleetloop.policies.flow_options import CLAMP

NOTHING = 1e-4  # of the largest value: what varies less is noise, and would be all that is seen if it were magnified


class Statistics(nn.Module):
    """Mean and standard deviation of each of `width` numbers.

    Args:
        least: of a deviation, for numbers of a known unit. Without it the deviation is what it is, in whatever unit,
            and 1 for what does not vary.
    """

    def __init__(self, width: int, least: float = 0.0) -> None:
        super().__init__()
        self._least = least
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    mean: Tensor
    deviation: Tensor

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take the statistics over all but the last axis; of nothing at all they stay as they are."""
        flat = values.reshape(-1, values.shape[-1])
        if not len(flat):
            return
        self.mean.copy_(flat.mean(dim=0))
        deviation = flat.std(dim=0)
        varies = deviation > NOTHING * flat.abs().amax(dim=0)
        self.deviation.copy_(deviation.where(varies, self._least or 1.0).clamp(min=self._least))

    def forward(self, values: Tensor) -> Tensor:
        scale = 1 / self.deviation
        return torch.addcmul(-self.mean * scale, values, scale).clamp_(-CLAMP, CLAMP)  # one pass less over a large row
