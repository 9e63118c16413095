"""What a learner is put together from."""

from dataclasses import dataclass

from fleetloop.core.algorithm import Algorithm
from fleetloop.core.clock import Clock
from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.checkpoint import CheckpointWriter
from fleetloop.learner.feeder import Feeder
from fleetloop.learner.grid import Grid
from fleetloop.learner.loader import Loader
from fleetloop.learner.metrics import Metrics
from fleetloop.learner.publisher import Publisher
from fleetloop.learner.recall import Recall
from fleetloop.learner.relabelling import Relabelling
from fleetloop.learner.sampler import AdaptiveSampler
from fleetloop.learner.trainer import Trainer


@dataclass(frozen=True)
class Parts:
    """The learner's parts; `loop.py` advances them."""

    clock: Clock
    algorithm: Algorithm
    trainer: Trainer
    sampler: AdaptiveSampler
    buffer: ExperienceBuffer
    loader: Loader
    feeder: Feeder
    relabelling: Relabelling
    publisher: Publisher
    recall: Recall
    grid: Grid | None
    checkpoints: CheckpointWriter
    metrics: Metrics
