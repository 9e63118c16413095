"""The loss on demonstrations that are never trained on."""

import numpy as np

from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.trainer import Trainer


def unmeasured(buffer: ExperienceBuffer) -> list[str]:
    """The tasks that have demonstrations of which none is held out: of their loss nothing is ever known."""
    return [
        task
        for index, task in enumerate(buffer.tasks)
        if buffer.size(index, Part.OFFLINE) and not buffer.size(index, Part.HELD_OUT)
    ]


def measure_held_out(trainer: Trainer, buffer: ExperienceBuffer, most: int) -> dict[str, float]:
    """Mean loss of the averaged weights by task, over at most `most` samples that are the same every time."""
    if not buffer.holds(Part.HELD_OUT):
        return {}
    chosen, task = [], []
    for index in range(len(buffer.tasks)):
        ids = buffer.part(index, Part.HELD_OUT)
        count = min(len(ids), max(1, most // len(buffer.tasks)))
        chosen.append(ids[np.linspace(0, len(ids) - 1, count).astype(np.intp)] if count else ids)
        task.append(np.full(count, index, np.int64))
    samples, tasks = np.concatenate(chosen), np.concatenate(task)
    batch = buffer.gather(samples, tasks, np.zeros(len(samples), bool))
    losses = trainer.measure(batch, lambda where: f"held-out episodes {', '.join(buffer.episode_ids(samples[where]))}")
    return {buffer.tasks[index]: float(losses[tasks == index].mean()) for index in np.unique(tasks).tolist()}
