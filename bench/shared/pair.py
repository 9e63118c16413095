"""Weights of the size of a VLA before and after some optimizer steps, made in seconds; no model runs.

Shapes are those of a transformer of width 1024. AdamW as the learner has it moves fp32 masters by made-up gradients:
noise around a mean of a tenth of it that stays, its moments settled before the first of the two. What is compressed is
how AdamW moves bf16 weights; the really fine-tuned ones are in `shared/finetuning.py`.
"""

from pathlib import Path

import ml_dtypes
import numpy as np
import torch

from fleetloop.weights.codec import Weights, from_safetensors, to_safetensors

WIDTH = 1024
BETAS = 0.9, 0.99
SETTLING_STEPS = 20
LAYER = {"qkv": (3 * WIDTH, WIDTH), "out": (WIDTH, WIDTH), "up": (4 * WIDTH, WIDTH), "down": (WIDTH, 4 * WIDTH)}


def pair(directory: Path, rate: float, steps: int, layers: int) -> tuple[Weights, Weights]:
    """12.6 M parameters of bf16 per layer, and the same after `steps` steps at this rate. Kept in `directory`."""
    paths = [directory / f"pair-{layers}-{rate:.0e}-step-{step}.safetensors" for step in (0, steps)]
    if not all(path.exists() for path in paths):
        directory.mkdir(parents=True, exist_ok=True)
        rng = torch.Generator().manual_seed(0)
        names = [f"layer{layer}.{name}" for layer in range(layers) for name in LAYER]
        moved = {name: _moved(LAYER[name.split(".")[1]], rate, steps, rng) for name in names}
        for path, place in zip(paths, (0, 1), strict=True):
            path.write_bytes(to_safetensors({name: both[place] for name, both in moved.items()}))
    old, new = (from_safetensors(path.read_bytes()) for path in paths)
    return old, new


def _moved(shape: tuple[int, int], rate: float, steps: int, rng: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    weight = torch.empty(shape).normal_(0.0, shape[1] ** -0.5, generator=rng).requires_grad_()
    mean = torch.empty(shape).normal_(0.0, 0.1, generator=rng)
    optimizer = torch.optim.AdamW([weight], rate, betas=BETAS, weight_decay=1e-4, fused=True)
    weight.grad = torch.empty(shape)
    before = _published(weight)
    for step in range(SETTLING_STEPS + steps):
        if step == SETTLING_STEPS:
            before = _published(weight)
        weight.grad.normal_(generator=rng).add_(mean)
        optimizer.step()
    return before, _published(weight)


def _published(weight: torch.Tensor) -> np.ndarray:
    return weight.detach().to(torch.bfloat16).view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
