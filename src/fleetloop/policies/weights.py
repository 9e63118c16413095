"""Numpy weights of a release into a torch module."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fleetloop.core.errors import ReleaseInvalid


def load_weights(module: nn.Module, weights: Mapping[str, npt.NDArray[Any]]) -> None:
    """Copy every array into the parameter or buffer of its name, whatever its precision.

    Raises:
        ReleaseInvalid: naming a tensor that is missing, unknown or of another shape.
    """
    own = module.state_dict()
    if odd := set(own) ^ set(weights):
        name = min(odd)
        raise ReleaseInvalid(f"tensor {name}", "is missing" if name in own else "is unknown to this policy")
    with torch.no_grad():
        for name, tensor in own.items():
            array = weights[name]
            if tuple(tensor.shape) != array.shape:
                raise ReleaseInvalid(f"tensor {name}", f"has the shape {array.shape}, not {tuple(tensor.shape)}")
            exact = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
            tensor.copy_(torch.from_numpy(np.array(exact)))
