"""Snapshots of a transformer that is really fine-tuned: what `bench/weights.py` measures codecs on.

A transformer of 32 M parameters learns by flow matching (arXiv 2210.02747) to turn noise into chunks of actions:
first smooth movements, then, as fine-tuning, faster ones. AdamW as the learner has it, gradients clipped to 1.0,
fp32 masters, bf16 published. The movements are made up: what the codecs meet is how AdamW moves weights, not a task.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, LAYERS, HEADS = 512, 10, 8
OBSERVED, HORIZON, ACTION = 4, 8, 14
BATCH = 8
BETAS = 0.9, 0.99
BASE_STEPS, BASE_RATE = 200, 3e-4
SETTLING_STEPS = 100
"""Steps before the first snapshot: AdamW's first steps are larger than those of a loop that has run long."""


class FlowTransformer(nn.Module):
    """The velocity at a noised chunk, given what was observed.

    `forward(observed (B, 4, 14), noised (B, 8, 14), time (B,))` -> (B, 8, 14).
    """

    def __init__(self) -> None:
        super().__init__()
        self.observed_in, self.action_in = nn.Linear(ACTION, WIDTH), nn.Linear(ACTION, WIDTH)
        self.time_in, self.place = nn.Linear(WIDTH, WIDTH), nn.Parameter(torch.zeros(OBSERVED + HORIZON, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, ACTION)

    def forward(self, observed: Tensor, noised: Tensor, time: Tensor) -> Tensor:
        frequencies = torch.exp(torch.linspace(0, math.log(1000), WIDTH // 2))
        phases = time[:, None] * frequencies
        moment = self.time_in(torch.cat([phases.sin(), phases.cos()], -1))
        tokens = torch.cat([self.observed_in(observed), self.action_in(noised) + moment[:, None]], 1)
        out: Tensor = self.out(self.body(tokens + self.place)[:, OBSERVED:])
        return out


def snapshots(directory: Path, rate: float, steps: tuple[int, ...]) -> Iterator[tuple[int, Path]]:
    """(steps since the first, bf16 safetensors), 0 first. What `directory` has already is not trained again."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = {step: directory / f"rate-{rate:.0e}-step-{step}.safetensors" for step in (0, *steps)}
    if not all(path.exists() for path in paths.values()):
        _fine_tune(_base(directory), rate, paths)
    return iter(paths.items())


def _base(directory: Path) -> FlowTransformer:
    path = directory / "base.safetensors"
    torch.manual_seed(0)
    model = FlowTransformer()
    if not path.exists():
        print(f"training the base, {BASE_STEPS} steps", flush=True)
        for _ in _train(model, BASE_RATE, BASE_STEPS, seed=1, speed=1.0):
            pass
        _save(model.state_dict(), path)
    model.load_state_dict(load_file(path))
    return model


def _fine_tune(model: FlowTransformer, rate: float, paths: dict[int, Path]) -> None:
    print(f"fine-tuning at {rate:.0e}, {SETTLING_STEPS + max(paths)} steps", flush=True)
    for done in _train(model, rate, SETTLING_STEPS + max(paths), seed=2, speed=2.0):
        path = paths.get(done - SETTLING_STEPS)
        if path is not None:
            _save({name: tensor.bfloat16() for name, tensor in model.state_dict().items()}, path)


def _train(model: FlowTransformer, rate: float, steps: int, seed: int, speed: float) -> Iterator[int]:
    """Steps done so far, after each one."""
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=BETAS, weight_decay=1e-4, fused=True)
    for step in range(1, steps + 1):
        observed, actions = _movements(rng, speed)
        noise = torch.randn(actions.shape, generator=rng)
        time = torch.rand(BATCH, generator=rng)
        noised = torch.lerp(noise, actions, time[:, None, None])
        loss = F.mse_loss(model(observed, noised, time), actions - noise)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / 10)
        optimizer.step()
        yield step


def _movements(rng: torch.Generator, speed: float) -> tuple[Tensor, Tensor]:
    """What was observed (B, 4, 14), and the actions that go on from there (B, 8, 14): sines of many joints."""
    phase, pace = torch.rand(2, BATCH, 1, ACTION, generator=rng)
    ticks = torch.arange(OBSERVED + HORIZON)[None, :, None]
    path = torch.sin(2 * math.pi * phase + speed * (0.05 + 0.2 * pace) * ticks)
    return path[:, :OBSERVED], path[:, OBSERVED:]


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    partial = path.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    partial.rename(path)
