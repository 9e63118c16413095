"""Between torch and numpy: what a release carries, and what its hashes are made of."""

import json
from collections.abc import Container, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch
from blake3 import blake3

from fleetloop.core.release import TensorEntry
from fleetloop.learner.grid import Grid
from fleetloop.weights import streams

STATISTICS = "stats"


def is_statistic(name: str) -> bool:
    """Whether a tensor holds normalisation statistics: its path has a part `stats`. They are shipped unrounded."""
    return STATISTICS in name.split(".")


def release_weights(
    state: Mapping[str, torch.Tensor], grid: Grid | None = None, buffers: Container[str] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Copies of a state dict's tensors as a release carries them: floats as bf16, statistics as float32.

    `buffers`: the names of those that are no parameters. They are as exact as statistics, for some are: a policy that
    was pretrained elsewhere has its own names for them.
    """
    on_grid = grid.rounded if grid else lambda _, tensor: tensor
    return {name: _released(name, on_grid(name, tensor.detach()), buffers) for name, tensor in state.items()}


def check_release(state: Mapping[str, torch.Tensor]) -> None:
    """Raise, before anything is trained, what would keep robots from taking this state dict's tensors.

    Raises:
        NameRefused, TensorMismatch, TooLarge: naming the tensor.
    """
    released = ((name, _released(name, tensor.new_empty(0)), tensor.shape) for name, tensor in state.items())
    streams.check([TensorEntry(name, array.dtype.name, tuple(shape), "") for name, array, shape in released])


def exact_weights(state: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Copies of a state dict's tensors, unrounded."""
    return {name: _exact(tensor.detach().cpu()) for name, tensor in state.items()}


def tensors(weights: Mapping[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    """The reverse of both: bf16 arrays become float32 tensors. Every tensor owns its memory."""
    return {
        name: torch.from_numpy(np.array(array, np.float32 if array.dtype == ml_dtypes.bfloat16 else array.dtype))
        for name, array in weights.items()
    }


def statistics_hash(state: Mapping[str, torch.Tensor]) -> str:
    """blake3 over the names and float32 bytes of the statistics."""
    hasher = blake3()
    for name in sorted(filter(is_statistic, state)):
        hasher.update(name.encode() + b"\0" + state[name].detach().float().cpu().numpy().tobytes())
    return hasher.hexdigest()


def config_hash(config: Mapping[str, Any]) -> str:
    """blake3 over the configuration as sorted JSON."""
    return blake3(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _exact(tensor: torch.Tensor) -> npt.NDArray[Any]:
    if tensor.dtype is torch.bfloat16:  # which numpy does not know
        return np.array(tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16))
    return np.array(tensor.numpy())


def _released(name: str, tensor: torch.Tensor, buffers: Container[str] = ()) -> npt.NDArray[Any]:
    if not tensor.is_floating_point():
        return tensor.cpu().numpy().copy()
    if is_statistic(name) or name in buffers:
        return tensor.to(torch.float32, copy=True).cpu().numpy()
    rounded = tensor.to(torch.bfloat16, copy=True).cpu().contiguous()
    return rounded.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
