"""One optimizer step: loss, gradient, AdamW, and the moving average that is published."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetloop.core.algorithm import Algorithm
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.policy import Batch
from fleetloop.learner.anchor import Anchor
from fleetloop.learner.errors import LossInvalid
from fleetloop.learner.export import is_statistic
from fleetloop.learner.labels import TRACEBACK, in_a_line
from fleetloop.learner.options import OptimizerOptions

Losses = npt.NDArray[np.float64]
Origin = Callable[[npt.NDArray[np.intp]], str]
"""Says in words where the given positions of a batch come from."""
Heard = Callable[[Losses], None]
"""Told a step's (B,) losses as soon as they are known: most of the step is still to come."""


@dataclass(frozen=True)
class Trained:
    """What a step came to: (B,) losses, and the gradient's norm before clipping."""

    losses: Losses
    gradient_norm: float


class Trainer:
    """A policy, its optimizer and its average.

    Attributes:
        step: optimizer steps taken.
        average: the exponential moving average of the policy; what is published.
    """

    def __init__(
        self, policy: Any, algorithm: Algorithm, options: OptimizerOptions, seed: int, anchor: Anchor | None = None
    ) -> None:
        self.step, self.policy, self._anchor = 0, policy, anchor
        self.average: Any = copy.deepcopy(policy).eval().requires_grad_(False)
        self._algorithm, self._options, self._seed = algorithm, options, seed
        self._trained = [weight for weight in policy.parameters() if weight.requires_grad]
        self._averaged = [
            mean
            for weight, mean in zip(policy.parameters(), self.average.parameters(), strict=True)
            if weight.requires_grad
        ]
        # Buffers that move in training (a batch norm's) are copied; statistics are frozen.
        averaged_buffers = dict(self.average.named_buffers())
        self._copied = [
            (averaged_buffers[name], buffer) for name, buffer in policy.named_buffers() if not is_statistic(name)
        ]
        self._optimizer = torch.optim.AdamW(
            self._trained,
            lr=options.rate,
            betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay,
            fused=True,
        )

    def train(self, batch: Batch, origin: Origin, heard: Heard = lambda losses: None) -> Trained:
        """Take one step on a batch.

        Raises:
            LossInvalid: if the loss has another shape than (B,), or it or its gradient is not finite.
        """
        self._optimizer.param_groups[0]["lr"] = self.rate(self.step)
        losses = self._losses(self.policy.train(), batch, self.step, origin)
        known = losses.detach().cpu().numpy().astype(np.float64)
        heard(known)
        self._optimizer.zero_grad(set_to_none=True)
        self._with_anchor(losses.mean(), batch).backward()  # type: ignore[no-untyped-call]
        norm = float(clip_gradient(self._trained, self._options.clip_norm))
        if not math.isfinite(norm):
            everywhere = np.arange(len(batch))
            raise LossInvalid("gradient", f"is not finite at step {self.step}, {origin(everywhere)}", _REMEDY)
        self._optimizer.step()
        self.step += 1
        self._follow()
        return Trained(known, norm)

    @torch.no_grad()
    def measure(self, batch: Batch, origin: Origin) -> Losses:
        """(B,) losses of the average, with the same noise every time."""
        return self._losses(self.average, batch, 0, origin).cpu().numpy().astype(np.float64)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        options = self._options
        warm = min(1.0, (step + 1) / (options.warmup_steps + 1))
        if options.total_steps is None or step < (start := options.anneal_from * options.total_steps):
            return options.rate * warm
        done = min(1.0, (step - start) / max(options.total_steps - start, 1))
        share = options.anneal_to + (1 - options.anneal_to) * 0.5 * (1 + math.cos(math.pi * done))
        return options.rate * warm * share

    def _with_anchor(self, loss: Tensor, batch: Batch) -> Tensor:
        return loss if self._anchor is None else loss + self._anchor.penalty(self.policy, batch, self._rng(self.step))

    def _rng(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed((self._seed << 32) + step)

    def _losses(self, policy: Any, batch: Batch, step: int, origin: Origin) -> Tensor:
        rng = self._rng(step)
        everywhere = np.arange(len(batch))
        try:
            losses: Any = self._algorithm.loss(policy, batch, rng=rng)
        except FleetLoopError:
            raise
        except Exception as error:
            problem = f"failed at step {self.step}, {origin(everywhere)}: {in_a_line(error)}"
            raise LossInvalid("Algorithm.loss", problem, TRACEBACK) from error
        if not isinstance(losses, Tensor) or losses.shape != (len(batch),):
            given = (
                f"has the shape {list(losses.shape)}" if isinstance(losses, Tensor) else f"is a {type(losses).__name__}"
            )
            problem = f"{given}, not [{len(batch)}], {origin(everywhere)}"
            raise LossInvalid("loss", problem, "return one loss per sample")
        if not losses.is_floating_point() or (torch.is_grad_enabled() and not losses.requires_grad):
            problem = f"is {losses.dtype} without a gradient, {origin(everywhere)}"
            raise LossInvalid("loss", problem, "compute it from `policy.loss`, in torch, without detach")
        odd = ~torch.isfinite(losses.detach())
        if odd.any():
            where = np.flatnonzero(odd.cpu().numpy())
            raise LossInvalid("loss", f"is not finite at step {self.step}, {origin(where)}", _REMEDY)
        return losses

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self._options.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self._averaged, self._trained, 1 - decay)
        for mean, now in self._copied:
            mean.copy_(now)

    # ------------------------------------------------------------------ restart

    def state(self) -> dict[str, Tensor]:
        """Copies of every tensor that the next step depends on."""
        moments = {
            f"optimizer.{index}.{key}": value
            for index, entry in self._optimizer.state_dict()["state"].items()
            for key, value in entry.items()
        }
        policy = {f"policy.{name}": value for name, value in self.policy.state_dict().items()}
        average = {f"average.{name}": value for name, value in self.average.state_dict().items()}
        return {name: value.detach().cpu().clone() for name, value in {**policy, **average, **moments}.items()}

    def restore(self, state: Mapping[str, Tensor], step: int) -> None:
        """Go on from `state`. Raises RuntimeError or KeyError if the tensors are another policy's."""
        self.step = step
        self.policy.load_state_dict(_under("policy.", state))
        self.average.load_state_dict(_under("average.", state))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", state).items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})


_REMEDY = "look at these episodes (`fleetloop episodes show ID`, for a demonstration FILE), or lower the learning rate"


def clip_gradient(parameters: list[nn.Parameter], most: float) -> Tensor:
    """Scale the gradients so that their common norm is at most `most`; returns the norm before that."""
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if norm > most:
        torch._foreach_mul_(gradients, most / (norm + 1e-6))
    return norm


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
