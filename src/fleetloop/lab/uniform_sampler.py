"""What an ablation sets against the adaptive sampler: draws uniformly from all samples that are held, whatever task."""

import numpy as np

from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.sampler import AdaptiveSampler, Draw, numbers


class UniformSampler(AdaptiveSampler):
    """Keeps the same records and heeds none of them: no balance of tasks. What was drawn
    `max_replay` times is drawn no more, as elsewhere."""

    def draw(self, buffer: ExperienceBuffer, step: int, size: int) -> Draw:
        """The batch of a step; empty if nothing is held."""
        parts = [(task, part) for task in range(len(buffer.tasks)) for part in (Part.OFFLINE, Part.ONLINE)]
        held = [buffer.part(task, part) for task, part in parts]
        edges = np.cumsum([0, *(len(ids) for ids in held)])
        if not edges[-1]:
            return Draw(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, bool))
        places = (numbers(self._seed, step, size)[:, 0] * edges[-1]).astype(np.intp)
        chosen = np.searchsorted(edges, places, side="right") - 1
        pairs = zip(chosen.tolist(), places.tolist(), strict=True)
        samples = np.array([held[index][place - edges[index]] for index, place in pairs], np.int32)
        task, part = np.array(parts)[chosen].T
        return Draw(samples, task.astype(np.int64), part == Part.ONLINE)
