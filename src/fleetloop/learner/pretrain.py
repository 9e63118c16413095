"""The base: behaviour cloning on demonstrations, for a known number of steps."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fleetloop.core.algorithm import Algorithm
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.policy import Batch
from fleetloop.learner.arrival import features_of, prepare
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.held_out import measure_held_out
from fleetloop.learner.options import OptimizerOptions, PretrainOptions, SamplerOptions
from fleetloop.learner.sampler import AdaptiveSampler, Draw, numbers
from fleetloop.learner.trainer import Origin, Trainer

REPORT_EVERY = 100
Progress = Callable[[int, float], None]
"""Told the step and the mean training loss since the last call."""


@dataclass(frozen=True)
class Pretrained:
    """A trained policy (the average over the last steps) and how it went."""

    policy: Any
    facts: Mapping[str, Any]


def pretrain(
    policy: Any,
    algorithm: Algorithm,
    episodes: Iterable[Episode],
    options: PretrainOptions,
    *,
    fit_statistics: bool = True,
    scratch: Path | None = None,
    progress: Progress = lambda step, loss: None,
) -> Pretrained:
    """Train `policy` on what `algorithm` labels in `episodes`, tasks balanced; its rate ends in a cosine.

    With `fit_statistics=False` the policy keeps the normalisation that it has: going on from a base. What batches are
    made of lies in `scratch`, a directory, or else in memory; what there is no room for is decoded again when drawn.

    Raises:
        ConfigInvalid: if there is nothing to train on, or the algorithm can't do with this policy.
        LossInvalid: if the loss can't be trained on.
    """
    torch.set_num_threads(options.threads)
    algorithm.setup(policy)
    at_hand = {episode.meta.id: episode for episode in sorted(episodes, key=lambda item: item.meta.id)}
    buffer = ExperienceBuffer(
        policy.spec,
        max_replay=np.iinfo(np.int32).max,
        held_out=options.held_out,
        scratch=scratch,
        most_bytes=options.decoded_bytes,
        fetch=at_hand.__getitem__,
        features=features_of(policy),
    )
    for episode in at_hand.values():
        buffer.ingest(prepare(episode, algorithm, policy.spec, features_of(policy)))
    if not buffer.holds(Part.OFFLINE):
        raise ConfigInvalid("demonstrations", "hold no frame to train on", "record some with `fleetloop demos record`")
    if fit_statistics:
        policy.fit_statistics(statistics_batch(buffer, options.statistics_samples, options.seed))
    trainer = Trainer(policy, algorithm, _to_the_end(options), options.seed)
    _run(trainer, buffer, options, progress)
    facts = {
        "steps": options.steps,
        "episodes": len(buffer.episodes),
        "held_out": [held.id for held in buffer.episodes if held.part is Part.HELD_OUT],
        "tasks": {task: len(buffer.part(index, Part.OFFLINE)) for index, task in enumerate(buffer.tasks)},
        "loss_held_out": measure_held_out(trainer, buffer, options.batch),
    }
    for mean, weight in zip(trainer.average.parameters(), policy.parameters(), strict=True):
        mean.requires_grad_(weight.requires_grad)
    return Pretrained(trainer.average, facts)


def statistics_batch(buffer: ExperienceBuffer, size: int, seed: int) -> Batch:
    """Up to `size` offline samples, spread over the tasks in proportion to what they hold."""
    tasks = range(len(buffer.tasks))
    samples = np.concatenate([buffer.part(task, Part.OFFLINE) for task in tasks])
    task = np.concatenate([np.full(len(buffer.part(index, Part.OFFLINE)), index) for index in tasks])
    chosen = np.sort(np.argsort(numbers(seed, 0, len(samples))[:, 0])[:size])
    return buffer.gather(samples[chosen], task[chosen], np.zeros(len(chosen), bool))


def _run(trainer: Trainer, buffer: ExperienceBuffer, options: PretrainOptions, progress: Progress) -> None:
    sampler = AdaptiveSampler(SamplerOptions(), options.seed)
    total, counted = 0.0, 0
    for step in range(options.steps):
        draw = sampler.draw(buffer, step, options.batch)
        batch = buffer.gather(draw.samples, draw.task, draw.online)
        trained = trainer.train(batch, _origin(buffer, draw))
        total, counted = total + float(trained.losses.mean()), counted + 1
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == options.steps:
            progress(step + 1, total / counted)
            total, counted = 0.0, 0


def _origin(buffer: ExperienceBuffer, draw: Draw) -> Origin:
    return lambda where: f"episodes {', '.join(buffer.episode_ids(draw.samples[where]))}"


def _to_the_end(options: PretrainOptions) -> OptimizerOptions:
    """A cosine over all steps, unless the options name their own schedule."""
    if options.optimizer.total_steps is not None:
        return options.optimizer
    return options.optimizer.model_copy(update={"total_steps": options.steps, "anneal_from": 0.0})
