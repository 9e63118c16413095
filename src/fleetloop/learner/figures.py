"""What the learner counts between two rows of its metrics, and how long each episode was on its way."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fleetloop.core.clock import Clock
from fleetloop.core.episode import Episode
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.sampler import AdaptiveSampler, Draw
from fleetloop.learner.trainer import Trained


class Tally:
    """Sums since the last row."""

    def __init__(self) -> None:
        self.steps = 0
        self.data_s = self.total_s = 0.0
        self._gradient_norm = self._staleness = 0.0
        self._online = 0
        self._losses: dict[tuple[int, bool], tuple[float, int]] = {}

    def add(self, draw: Draw, trained: Trained, staleness: int, data_s: float, total_s: float) -> None:
        """One step; `staleness` summed over its online samples, seconds by the learner's clock."""
        self.steps += 1
        self.data_s += data_s
        self.total_s += total_s
        self._gradient_norm += trained.gradient_norm
        self._staleness += staleness
        self._online += int(draw.online.sum())
        group = 2 * draw.task + draw.online
        counts, sums = np.bincount(group), np.bincount(group, weights=trained.losses)
        for index in np.flatnonzero(counts).tolist():
            key = (index // 2, bool(index % 2))
            total, count = self._losses.get(key, (0.0, 0))
            self._losses[key] = (total + float(sums[index]), count + int(counts[index]))

    def online_share(self, task: int) -> float | None:
        """Of the task's samples that were drawn since the last row; None if there were none."""
        online, offline = (self._losses.get((task, part), (0.0, 0))[1] for part in (True, False))
        return online / (online + offline) if online + offline else None

    def loss(self, task: int, online: bool) -> float | None:
        """Mean over the samples drawn since the last row."""
        total, count = self._losses.get((task, online), (0.0, 0))
        return total / count if count else None

    def row(self) -> dict[str, Any]:
        """What does not belong to one task."""
        return {
            "gradient_norm": self._gradient_norm / self.steps if self.steps else None,
            "staleness": self._staleness / self._online if self._online else None,
            "data_wait": self.data_s / self.total_s if self.total_s > 0 else 0.0,
        }


def task_figures(
    tally: Tally, buffer: ExperienceBuffer, sampler: AdaptiveSampler, held_out: Mapping[str, float]
) -> dict[str, Any]:
    """By task: losses since the last row, the share of online samples that was drawn and the one that losses ask for,
    and what may be drawn."""
    shares = sampler.online_shares(buffer.tasks)
    return {
        name: {
            "loss_online": tally.loss(task, True),
            "loss_offline": tally.loss(task, False),
            "loss_held_out": held_out.get(name),
            "online_share": tally.online_share(task),
            "online_share_wanted": float(shares[task]),
            "samples_online": buffer.size(task, Part.ONLINE),
            "samples_offline": buffer.size(task, Part.OFFLINE),
            "positives": buffer.positives(task),
        }
        for task, name in enumerate(buffer.tasks)
    }


class Journey:
    """From an episode's end to the first batch that draws from it, in seconds of the learner's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended: dict[str, float] = {}

    def admit(self, episode: Episode, now: float) -> None:
        """An online episode came in. Where the recorder's clock is another one, Unix time tells when it ended."""
        if not len(episode):
            return
        if episode.meta.clock == self._clock.name != "wall":
            self._ended[episode.meta.id] = float(episode.column("clock_s")[-1])
        else:
            self._ended[episode.meta.id] = now - (self._clock.wall() - float(episode.column("wall_s")[-1]))

    def first_draws(self, draw: Draw, buffer: ExperienceBuffer, now: float) -> Mapping[str, float]:
        """The episodes that this draw is the first of, and how long each took. Call before the draw is counted."""
        fresh = draw.samples[draw.online]
        fresh = fresh[buffer.draws(fresh) == 0]
        if not self._ended or not len(fresh):
            return {}
        return {id: now - self._ended.pop(id) for id in buffer.episode_ids(fresh) if id in self._ended}


def weightless(buffer: ExperienceBuffer) -> str:
    """What is held and can never be drawn, whatever the losses; empty if nothing."""
    parts = (Part.OFFLINE, Part.ONLINE)
    held = [sum(buffer.size(task, part) for part in parts) for task in range(len(buffer.tasks))]
    mass = [sum(buffer.mass(task, part) for part in parts) for task in range(len(buffer.tasks))]
    found = [name for name, size, weight in zip(buffer.tasks, held, mass, strict=True) if size and not weight]
    return f"{', '.join(found)}: is not trained: the algorithm gives all of it the weight 0" if found else ""
