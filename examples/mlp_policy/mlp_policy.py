"""A small multilayer perceptron: words and state in, a chunk of actions out. Regression, no flow, no images."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.policy import Batch
from fleetloop.core.spec import PolicySpec, RobotSpec
from fleetloop.policies.vocabulary import VOCABULARY, word_ids


class MlpOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon: int = Field(default=8, ge=2, description="actions in a chunk; half of them are played")
    width: int = Field(default=64, ge=1, description="of the hidden layers, and of a word's embedding")


class Stats(nn.Module):
    """The name of the module that holds it makes its buffers statistics: float32 in every release, never trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))


class MlpPolicy(nn.Module):
    Options: ClassVar[type[MlpOptions]] = MlpOptions

    def __init__(self, config: Mapping[str, Any], spec: PolicySpec) -> None:
        super().__init__()
        self.config, self.spec = dict(config), spec
        state, width = sum(int(np.prod(item.shape)) for item in spec.inputs), config["width"]
        self.stats = Stats(state)
        self.words = nn.EmbeddingBag(VOCABULARY, width, mode="sum", padding_idx=0)
        layers = [nn.Linear(state + width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, spec.horizon * spec.action.shape[0]))

    @classmethod
    def build(cls, config: Mapping[str, Any], robot: RobotSpec) -> "MlpPolicy":
        own = MlpOptions(**config)
        inputs = tuple(item for item in robot.state if not item.label)
        spec = PolicySpec(inputs, robot.action, own.horizon, own.horizon // 2, robot.control_hz)
        return cls(own.model_dump(), spec)

    @classmethod
    def acting(cls, config: Mapping[str, Any], spec: PolicySpec, weights: Mapping[str, Any]) -> "MlpPolicy":
        policy = cls(config, spec)
        policy.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in weights.items()})
        return policy.eval()

    def fit_statistics(self, batch: Batch) -> None:
        row = self._row(batch.state)
        self.stats.mean.copy_(row.mean(0))
        self.stats.deviation.copy_(row.std(0).clamp(min=1e-2))

    def loss(self, batch: Batch, *, rng: torch.Generator) -> Tensor:
        predicted = self._predict(batch.state, batch.instructions, torch.from_numpy(batch.instruction))
        mask = torch.from_numpy(batch.mask)
        error = (predicted - torch.from_numpy(batch.actions)).abs().mean(-1)
        return (error * mask).sum(-1) / mask.sum(-1).clamp(min=1)

    @torch.no_grad()
    def chunk(
        self,
        observation: Observation,
        instruction: str,
        condition: str | None = None,
        *,
        rng: np.random.Generator,
        prefix: FloatArray | None = None,
        delay: int = 0,
    ) -> FloatArray:
        state = {name: np.asarray(array)[None] for name, array in observation.state.items()}
        return self._predict(state, (instruction,), torch.zeros(1, dtype=torch.int64))[0].numpy()

    def _predict(self, state: Mapping[str, Any], instructions: tuple[str, ...], which: Tensor) -> Tensor:
        ids = [torch.tensor(word_ids(text) or (0,)) for text in instructions]
        sentences = self.words(nn.utils.rnn.pad_sequence(ids, batch_first=True))
        row = (self._row(state) - self.stats.mean) / self.stats.deviation
        flat = self.layers(torch.cat([row, sentences[which]], 1))
        return flat.view(len(flat), self.spec.horizon, -1)

    def _row(self, state: Mapping[str, Any]) -> Tensor:
        return torch.cat([torch.from_numpy(state[item.name]).float().flatten(1) for item in self.spec.inputs], 1)
