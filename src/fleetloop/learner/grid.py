"""Publishing on a grid: fewer distinct values, so that fewer change between two releases and deltas are smaller.

A weight's bf16 is finer the smaller it is; most weights of a tensor are smaller than their root mean square (RMS), and
their last bits say little about what the tensor does. On the grid every value is a multiple of one step per tensor:
2^j times the distance between two bf16 values at the RMS. Values above it keep the precision that bf16 has there. The
trained weights themselves stay as they are, in float32; robots get, and manifests name, exactly what was rounded.
"""

import math
from typing import Any

import torch
from torch import Tensor

BF16_BITS = 7
"""Of the mantissa, beside the leading one."""


class Grid:
    """The steps, by tensor: they are those of the weights that it was made with, for the whole run."""

    def __init__(self, policy: Any, exponent: int) -> None:
        """`policy`: a torch module; what of it does not train is left alone, and so is what is all zero.

        `exponent`: j; 0 is the distance between two bf16 values at the RMS itself.
        """
        self._steps = {
            name: 2.0 ** (math.floor(math.log2(size)) - BF16_BITS + exponent)
            for name, weight in policy.named_parameters()
            if weight.requires_grad and (size := _rms(weight)) > 0
        }

    def rounded(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor's nearest values on the grid."""
        step = self._steps.get(name)
        if step is None:
            return tensor
        coarser = tensor.abs() >= step * 2 ** (BF16_BITS + 1)  # bf16 itself: rounded once, not twice
        return torch.where(coarser, tensor, torch.round(tensor / step) * step)


def grid_of(policy: Any, exponent: int | None) -> Grid | None:
    """None where every bf16 value may be published."""
    return None if exponent is None else Grid(policy, exponent)


def _rms(weight: Tensor) -> float:
    return float(weight.detach().double().square().mean().sqrt()) if weight.numel() else 0.0
