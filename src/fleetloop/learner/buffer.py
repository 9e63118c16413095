"""The experience that can be drawn from: per task an online and an offline part, and held-out demonstrations.

A sample is a frame at which training may start. Samples of all tasks share one table of columns, and the actions of
whole episodes another; a part is a list of row numbers. So a batch over any mix of parts is a handful of numpy takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetloop.core.algorithm import FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Source
from fleetloop.core.policy import Batch
from fleetloop.core.spec import PolicySpec
from fleetloop.learner.arrival import Prepared, is_held_out
from fleetloop.learner.columns import Column
from fleetloop.learner.errors import LabelsInvalid
from fleetloop.learner.observations import Observations
from fleetloop.learner.pool import Ids, Pool

COVERED_SAMPLES = 32


class Part(IntEnum):
    """Where a task's samples go."""

    OFFLINE = 0
    ONLINE = 1
    HELD_OUT = 2


class Fact(IntEnum):
    """The integers that are kept of a sample: rows of the actions' table, and where it comes from."""

    START = 0
    STOP = 1
    INSTRUCTION = 2
    EPISODE = 3
    RELEASE = 4
    FRAME = 5
    INDICATOR = 6
    HUMAN = 7


@dataclass(frozen=True)
class Held:
    """What the buffer holds of one episode: samples [first, last) of one part of one task."""

    id: str
    task: int
    part: Part
    first: int
    last: int


class ExperienceBuffer:
    """Everything that training draws from.

    Args:
        spec: of the policy; fixes the features and the horizon.
        max_replay: draws after which an online sample is used up.
        held_out: share of the demonstrations that is kept for measuring.
        scratch: a directory for what is seen: decoded images, or a policy's features of them.
    """

    def __init__(
        self, spec: PolicySpec, *, max_replay: int, held_out: float = 0.0, scratch: Path | None = None
    ) -> None:
        self.tasks: list[str] = []
        self.episodes: list[Held] = []
        self._spec, self._max_replay, self._held_out = spec, max_replay, held_out
        self._newest: dict[str, int] = {}  # episode id -> index in `episodes` of the last time it was taken in
        self._parts: list[tuple[Pool, Pool, Pool]] = []  # per task, by Part: the samples in use
        self._instructions: dict[str, int] = {}
        self._observations = Observations(spec, scratch)
        self._actions = Column(spec.action.shape, np.float32)
        self._facts = Column((len(Fact),), np.int64)  # together, because one sample's are read together
        self._weight, self._draws = Column((), np.float32), Column((), np.int32)
        self._uncovered: list[int] = []
        self._gone: set[str] = set()

    def __len__(self) -> int:
        """Samples ever admitted, of all parts."""
        return len(self._draws)

    # ------------------------------------------------------------------ in

    def ingest(self, prepared: Prepared) -> int:
        """Take an episode in, in place of what was held of it before; returns how many online samples are new."""
        episode, labels = prepared.episode, prepared.labels
        before = self._newest.get(episode.meta.id)
        waiting = before is None or before in self._uncovered
        self.retire(episode.meta.id)
        task, part = self.number(episode.meta.task), self._part_of(episode)
        frames = np.flatnonzero(labels.train).astype(np.int32)
        held = Held(episode.meta.id, task, part, len(self), len(self) + len(frames))
        base = len(self._actions)
        if len(frames):
            self._actions.extend(episode.action)
        self._observations.extend(episode, frames, prepared.seen, len(self))
        self._facts.extend(self._facts_of(prepared, frames, base))
        self._weight.extend(labels.weight[frames])
        earlier = self._earlier_draws(before, frames)
        draws = earlier.clip(0)
        self._draws.extend(draws)
        usable = (draws < self._max_replay) | (part is not Part.ONLINE)
        self._parts[task][part].extend(np.arange(held.first, held.last)[usable])
        self._newest[held.id] = len(self.episodes)
        if waiting and part is Part.ONLINE and self._fact(Fact.HUMAN, held).any():
            self._uncovered.append(len(self.episodes))
        self.episodes.append(held)
        return int((earlier < 0).sum()) if part is Part.ONLINE else 0

    def retire(self, episode: str) -> None:
        """Never draw from this episode again."""
        index = self._newest.get(episode)
        if index is None:
            return
        held = self.episodes[index]
        pool = self._parts[held.task][held.part]
        pool.keep((pool.ids < held.first) | (pool.ids >= held.last))
        self._uncovered = [item for item in self._uncovered if item != index]

    def forget(self, episode: str) -> None:
        """As `retire`, and a restart will not take it in again."""
        self.retire(episode)
        if episode in self._newest:
            self._gone.add(episode)

    def relabel(self, episode: str, labels: FrameLabels) -> None:
        """Give an episode's samples the weight and the indicator of another label version; nothing else may differ.

        Raises:
            LabelsInvalid: if other frames train, or their targets end elsewhere.
        """
        if (index := self._newest.get(episode)) is None:
            return
        held = self.episodes[index]
        facts = self._facts.rows[held.first : held.last]
        frames = facts[:, Fact.FRAME]
        stops = frames + facts[:, Fact.STOP] - facts[:, Fact.START]
        if not np.array_equal(np.flatnonzero(labels.train), frames) or not np.array_equal(labels.stop[frames], stops):
            problem = f"of {episode} differ between two label versions"
            raise LabelsInvalid(
                "labels.train or labels.stop", problem, "a version changes weights and indicators alone"
            )
        facts[:, Fact.INDICATOR] = labels.indicator[frames]
        self._weight.rows[held.first : held.last] = labels.weight[frames]
        self._parts[held.task][held.part].reweigh()

    def number(self, name: str) -> int:
        """The task's; the next one if it has none yet."""
        if name not in self.tasks:
            self.tasks.append(name)
            self._parts.append((Pool(self._weight), Pool(self._weight), Pool(self._weight)))
        return self.tasks.index(name)

    def _part_of(self, episode: Episode) -> Part:
        if episode.meta.purpose == "online":
            return Part.ONLINE
        return Part.HELD_OUT if is_held_out(episode.meta.id, self._held_out) else Part.OFFLINE

    def _facts_of(self, prepared: Prepared, frames: Ids, base: int) -> npt.NDArray[np.int64]:
        """(n, facts): `base` is the row of the episode's first action."""
        episode, labels = prepared.episode, prepared.labels
        facts = np.empty((len(frames), len(Fact)), np.int64)
        facts[:, Fact.START] = base + frames
        facts[:, Fact.STOP] = base + labels.stop[frames]
        facts[:, Fact.INSTRUCTION] = self._instructions.setdefault(episode.meta.instruction, len(self._instructions))
        facts[:, Fact.EPISODE] = len(self.episodes)
        facts[:, Fact.RELEASE] = episode.column("release")[frames]
        facts[:, Fact.FRAME] = frames
        facts[:, Fact.INDICATOR] = labels.indicator[frames]
        facts[:, Fact.HUMAN] = (episode.source == Source.HUMAN)[frames]
        return facts

    def _fact(self, fact: Fact, held: Held) -> npt.NDArray[np.int64]:
        return self._facts.rows[held.first : held.last, fact]

    def _earlier_draws(self, before: int | None, frames: Ids) -> Ids:
        """The counts of frames that were held before, under other labels; -1 for the others."""
        draws = np.full(len(frames), -1, np.int32)
        if before is not None:
            span = slice(self.episodes[before].first, self.episodes[before].last)
            old_frames = self._fact(Fact.FRAME, self.episodes[before]).tolist()
            old = dict(zip(old_frames, self._draws.rows[span].tolist(), strict=True))
            draws[:] = [old.get(frame, -1) for frame in frames.tolist()]
        return draws

    # ------------------------------------------------------------------ out

    def part(self, task: int, part: Part) -> Ids:
        """(n,) int32: the samples that may be drawn, in order of admission; for ONLINE, those not used up."""
        return self._parts[task][part].ids

    def mass(self, task: int, part: Part) -> float:
        """The weights of the samples that may be drawn, summed: with 0, none can be."""
        return self._parts[task][part].mass

    def pick(self, task: int, part: Part, u: npt.NDArray[np.float64]) -> Ids:
        """(n,) numbers in [0, 1) as samples of a part that has mass, each drawn as often as its weight says."""
        return self._parts[task][part].pick(u)

    def holds(self, part: Part) -> bool:
        """Whether any task has something to draw from in this part."""
        return any(len(parts[part]) for parts in self._parts)

    def draws(self, samples: Ids) -> Ids:
        """(n,) int32: how often each was drawn."""
        return self._draws.rows[samples]

    def gather(self, samples: Ids, task: npt.NDArray[np.int64], online: npt.NDArray[np.bool_]) -> Batch:
        """The samples as one batch. Masked targets repeat the last action of their segment."""
        facts = self._facts.rows.take(samples, axis=0)
        stop = facts[:, Fact.STOP, None]
        steps = facts[:, Fact.START, None] + np.arange(self._spec.horizon)
        names = list(self._instructions)
        used, instruction = np.unique(facts[:, Fact.INSTRUCTION], return_inverse=True)
        return Batch(
            state=self._observations.state(samples),
            seen=self._observations.seen(samples),
            instructions=tuple(names[index] for index in used),
            instruction=instruction,
            actions=self._actions.rows.take(np.minimum(steps, stop - 1), axis=0),
            mask=(steps < stop).astype(np.float32),
            indicator=facts[:, Fact.INDICATOR].astype(np.int8),
            task=task,
            online=online,
        )

    def count(self, samples: Ids, online: npt.NDArray[np.bool_]) -> None:
        """Record that these were trained on; online samples that are used up leave their part."""
        np.add.at(self._draws.rows, samples, 1)
        fresh = samples[online]
        if (self._draws.rows[fresh] >= self._max_replay).any():
            self._drop_used_up()

    def episode_ids(self, samples: Ids) -> list[str]:
        """The episodes that these samples come from, each once."""
        return [self.episodes[index].id for index in np.unique(self.episode_numbers(samples))]

    def episode_numbers(self, samples: Ids) -> npt.NDArray[np.int64]:
        """(n,) int64: index in `episodes` of each sample's episode."""
        return self._facts.rows.take(samples, axis=0)[:, Fact.EPISODE]

    def positives(self, task: int) -> float | None:
        """The share of positive samples among the task's online ones that have an indicator; None if none has."""
        indicator = self._facts.rows[self.part(task, Part.ONLINE), Fact.INDICATOR]
        known = indicator >= 0
        return float((indicator[known] > 0).mean()) if known.any() else None

    def releases(self, samples: Ids) -> npt.NDArray[np.int64]:
        """(n,) int64: the release that each frame was recorded under."""
        return self._facts.rows.take(samples, axis=0)[:, Fact.RELEASE]

    # ------------------------------------------------------------------ coverage

    def covered(self) -> tuple[str, ...]:
        """Online episodes of which enough corrections were drawn, and that `announce` was not told of yet.

        Enough: 32 different human frames, or all that can be drawn where there are fewer.
        """
        return tuple(self.episodes[index].id for index in self._uncovered if self._enough_drawn(self.episodes[index]))

    def announce(self, episodes: Iterable[str]) -> None:
        """These are covered by a published release."""
        told = set(episodes)
        self._uncovered = [index for index in self._uncovered if self.episodes[index].id not in told]

    def uncovered(self) -> list[str]:
        """Online episodes with corrections that no published release covers yet."""
        return [self.episodes[index].id for index in self._uncovered]

    def _enough_drawn(self, held: Held) -> bool:
        span = slice(held.first, held.last)
        human = (self._fact(Fact.HUMAN, held) > 0) & (self._weight.rows[span] > 0)
        drawn = human & (self._draws.rows[span] > 0)
        return int(drawn.sum()) >= min(COVERED_SAMPLES, int(human.sum()))

    # ------------------------------------------------------------------ restart

    def all_draws(self) -> Ids:
        """(samples,) int32: a copy for the checkpoint, without the samples of forgotten episodes."""
        return self._draws.rows[self._remembered()]

    def restore(self, draws: Ids, uncovered: Iterable[str]) -> None:
        """Take back the counts of a checkpoint, once the same episodes are held again in the same order."""
        self._draws.rows[self._remembered()] = draws
        self._drop_used_up()
        waiting = set(uncovered)
        self._uncovered = [index for index in self._uncovered if self.episodes[index].id in waiting]

    def _remembered(self) -> npt.NDArray[np.bool_]:
        mask = np.ones(len(self), bool)
        for held in self.episodes:
            mask[held.first : held.last] = held.id not in self._gone
        return mask

    def _drop_used_up(self) -> None:
        for parts in self._parts:
            pool = parts[Part.ONLINE]
            pool.keep(self._draws.rows[pool.ids] < self._max_replay)
