"""The experience that can be drawn from: per task an online and an offline part, and held-out demonstrations.

A sample is a frame at which training may start. In memory is what draws need: a row per episode (`table.py`) and the
spans of its samples (`pool.py`). What a batch is made of is at hand as far as there is room for it (`payload.py`).
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetloop.core.algorithm import FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.errors import EpisodeInvalid, FleetLoopError, HubRefused
from fleetloop.core.policy import Batch, Features
from fleetloop.core.spec import PolicySpec
from fleetloop.learner.arrival import Prepared, is_held_out, look
from fleetloop.learner.buffer.coverage import Coverage
from fleetloop.learner.buffer.entry import Entry, entry_of, rows_of, targets_of
from fleetloop.learner.buffer.payload import ACTIONS, SEEN, STATE, Memory, Payload, Rows
from fleetloop.learner.buffer.pool import Pool
from fleetloop.learner.buffer.samples import Ids, Samples, distinct
from fleetloop.learner.buffer.selection import Selection
from fleetloop.learner.buffer.table import Part, Table
from fleetloop.learner.errors import LabelsInvalid, PayloadLost
from fleetloop.learner.labels import check_values
from fleetloop.learner.options import FiltersOptions

__all__ = ["ExperienceBuffer", "Part"]


def _is_at_hand(id: str) -> Episode:
    raise FleetLoopError(f"episode {id}", "is gone: this buffer has nowhere to fetch it from again")


class ExperienceBuffer:
    """Everything that training draws from.

    Attributes:
        tasks: by number, in order of arrival; episodes: by number, in order of admission.
        selection: which episodes train; coverage: which corrections a release covers.
        payload: what batches are made of, as far as it is at hand.

    Args:
        spec: of the policy; fixes the features and the horizon.
        max_replay: draws after which an online sample is used up.
        held_out: share of the demonstrations that is kept for measuring.
        scratch: a directory for samples and what batches are made of; None for memory.
        most_bytes: of what batches are made of, at hand at a time; None for no limit, which `fetch` is needed for.
        fetch: opens an episode again whose payload is not at hand.
        features: of the policy, see `HasFeatures`; filters: which episodes train.
    """

    def __init__(
        self,
        spec: PolicySpec,
        *,
        max_replay: int,
        held_out: float = 0.0,
        scratch: Path | None = None,
        most_bytes: int | None = None,
        fetch: Callable[[str], Episode] = _is_at_hand,
        features: Features | None = None,
        filters: FiltersOptions | None = None,
    ) -> None:
        self.tasks: list[str] = []
        self.episodes = Table()
        self._spec, self._max_replay, self._held_out = spec, max_replay, held_out
        self._fetch, self._features = fetch, features
        self._masks = np.tri(spec.horizon + 1, spec.horizon, -1, np.float32)  # by the number of targets
        self._parts: list[tuple[Pool, Pool, Pool]] = []  # per task, by Part
        self._samples = Samples(scratch)
        self.payload = Payload(self._load, scratch=scratch, most_bytes=most_bytes)
        self.coverage = Coverage(self.episodes, self._samples)
        self.selection = Selection(self.episodes, self._parts, filters or FiltersOptions())

    def __len__(self) -> int:
        """Samples ever admitted, of all parts."""
        return len(self._samples)

    # ------------------------------------------------------------------ in

    def ingest(self, prepared: Prepared) -> int:
        """Take an episode in, in place of what was held of it before; returns how many online samples are new."""
        entry = entry_of(prepared, self._spec.horizon)
        before = self.episodes.find(entry.id)
        number, fresh = self.index(entry)
        first = int(self.episodes.rows["first"][number])
        if prepared.seen is not None:
            frames, targets = entry.facts["frame"], entry.facts["targets"]
            self.payload.put(number, first, rows_of(prepared.episode, self._spec, frames, targets, prepared.seen))
        elif before is not None and self._same_samples(before, number):
            self.payload.move(before, number, first)
        if before is not None:
            self.payload.drop(before)
        return fresh

    def index(self, entry: Entry) -> tuple[int, int]:
        """Know of an episode's samples, without their payload: its number, and how many online samples are new."""
        before = self.episodes.find(entry.id)
        waiting = before is None or self.coverage.waits(before)
        self._withdraw(before)
        task, part = self.number(entry.task), self._part_of(entry)
        number, first, count = len(self.episodes), len(self._samples), len(entry.facts)
        entry.facts["episode"] = number
        draws, fresh = self._earlier_draws(before, entry)
        self._samples.extend(entry.facts, entry.weight, draws)
        self.payload.admit(count)
        spans = self._parts[task][part].extend(first, first + count)
        self.episodes.append(entry, first, task, part, spans)
        self.selection.admit(number, part)
        if part is not Part.ONLINE:
            return number, 0
        if waiting and entry.facts["human"].any():
            self.coverage.add(number)
        return number, fresh

    def retire(self, episode: str) -> None:
        """Never draw from this episode again, unless it is taken in anew."""
        number = self.episodes.find(episode)
        self._withdraw(number)
        if number is not None:
            self.payload.drop(number)

    def forget(self, episode: str) -> None:
        """As `retire`, and a restart will not take it in again. Between two steps."""
        self.retire(episode)
        self.episodes.forget(episode)

    def relabel(self, episode: str, labels: FrameLabels) -> None:
        """Give an episode's samples the weight and the indicator of another label version; nothing else may differ.

        Raises:
            LabelsInvalid: if other frames train, their targets end elsewhere, or a weight or indicator can't be.
        """
        check_values(labels, episode)
        if (number := self.episodes.find(episode)) is None:
            return
        held = self.episodes[number]
        facts = self._samples.facts[held.first : held.last]
        frames = facts["frame"]
        trains = np.array_equal(np.flatnonzero(labels.train), frames)
        if not trains or not np.array_equal(targets_of(labels, frames, self._spec.horizon), facts["targets"]):
            problem = f"of {episode} differ between two label versions"
            raise LabelsInvalid(
                "labels.train or labels.stop", problem, "a version changes weights and indicators alone"
            )
        facts["indicator"] = labels.indicator[frames]
        self._samples.weight[held.first : held.last] = labels.weight[frames]
        self._parts[held.task][held.part].weigh(self.episodes.spans(number))

    def number(self, name: str) -> int:
        """The task's; the next one if it has none yet."""
        if name not in self.tasks:
            self.tasks.append(name)
            offline, online, held_out = (Pool(self._samples, most) for most in (None, self._max_replay, None))
            self._parts.append((offline, online, held_out))
        return self.tasks.index(name)

    def _part_of(self, entry: Entry) -> Part:
        if entry.purpose == "online":
            return Part.ONLINE
        return Part.HELD_OUT if is_held_out(entry.id, self._held_out) else Part.OFFLINE

    def _withdraw(self, number: int | None) -> None:
        if number is not None:
            self.selection.retire(number)
            self.coverage.drop(number)

    def _same_samples(self, one: int, other: int) -> bool:
        facts = [self._samples.facts[held.first : held.last] for held in (self.episodes[one], self.episodes[other])]
        return all(np.array_equal(facts[0][name], facts[1][name]) for name in ("frame", "targets"))

    def _earlier_draws(self, before: int | None, entry: Entry) -> tuple[Ids, int]:
        """How often each of its samples was drawn under other labels; and how many were never held before."""
        draws, known = np.zeros(len(entry.facts), np.int32), np.zeros(len(entry.facts), bool)
        for number in self.episodes.times(before):  # the newest first: it counts on from those before
            held = self.episodes[number]
            old_frames = self._samples.facts["frame"][held.first : held.last]
            _, here, there = np.intersect1d(entry.facts["frame"], old_frames, return_indices=True)
            draws[here] = np.where(known[here], draws[here], self._samples.draws[held.first : held.last][there])
            known[here] = True
        return draws, int((~known).sum())

    # ------------------------------------------------------------------ out

    def part(self, task: int, part: Part) -> Ids:
        """(n,) int32: the samples that may be drawn, in order of admission; for ONLINE, those not used up."""
        return self._parts[task][part].ids

    def size(self, task: int, part: Part) -> int:
        """How many those are."""
        return len(self._parts[task][part])

    def mass(self, task: int, part: Part) -> float:
        """The weights of the samples that may be drawn, summed: with 0, none can be."""
        return self._parts[task][part].mass

    def pick(self, task: int, part: Part, u: npt.NDArray[np.float64]) -> Ids:
        """(n,) numbers in [0, 1) as samples of a part that has mass, each drawn as often as its weight says."""
        return self._parts[task][part].pick(u)

    def version(self, task: int, part: Part) -> int:
        """Another one whenever `pick` may pick otherwise."""
        return self._parts[task][part].version

    @property
    def changes(self) -> int:
        """While it stays the same, so do masses, picks, and the batch of any samples."""
        return self._samples.changes

    def holds(self, part: Part) -> bool:
        """Whether any task has something to draw from in this part."""
        return any(len(parts[part]) for parts in self._parts)

    def draws(self, samples: Ids) -> Ids:
        """(n,) int32: how often each was drawn."""
        return self._samples.draws[samples]

    def gather(
        self,
        samples: Ids,
        task: npt.NDArray[np.int64],
        online: npt.NDArray[np.bool_],
        memory: Memory | None = None,
        which: npt.NDArray[np.intp] | None = None,
    ) -> Batch:
        """The samples as one batch, its payload in `memory`: with `which`, only those positions are put there, the
        others are there already. Masked targets repeat the last action of their segment.

        Raises:
            PayloadLost: if an episode can't be read any more.
            HubUnavailable: if an episode must be fetched and can't be now; call again later.
        """
        facts = self._samples.facts.take(samples)  # `take` of a field would copy that field of all samples first
        rows = self.payload.take(samples, facts["episode"], memory or Memory(), which)
        used, instruction = distinct(self.episodes.rows["instruction"][facts["episode"]])
        return Batch(
            state={name.removesuffix(STATE): values for name, values in rows.items() if name.endswith(STATE)},
            seen={name.removesuffix(SEEN): values for name, values in rows.items() if name.endswith(SEEN)},
            instructions=tuple(self.episodes.instructions.name(number) for number in used),
            instruction=instruction,
            actions=rows[ACTIONS],
            mask=self._masks.take(facts["targets"], axis=0),
            indicator=facts["indicator"],
            task=task,
            online=online,
        )

    def _load(self, number: int) -> tuple[int, Rows]:
        held = self.episodes[number]
        facts = self._samples.facts[held.first : held.last]
        try:
            episode = self._fetch(held.id)
            seen = look(episode, facts["frame"], self._spec, self._features)
        except (EpisodeInvalid, HubRefused) as error:
            raise PayloadLost(held.id, f"can't be read any more ({error})") from error
        return held.first, rows_of(episode, self._spec, facts["frame"], facts["targets"], seen)

    def count(self, samples: Ids, online: npt.NDArray[np.bool_]) -> None:
        """Record that these were trained on; online samples that are used up leave their part."""
        np.add.at(self._samples.draws, samples, 1)
        fresh = samples[online]
        used_up = fresh[self._samples.draws[fresh] >= self._max_replay]
        for number in np.unique(self.episode_numbers(used_up)).tolist():
            row = self.episodes.rows[number]
            self._parts[row["task"]][row["part"]].weigh(self.episodes.spans(number))

    def episode_ids(self, samples: Ids) -> list[str]:
        """The episodes that these samples come from, each once."""
        return [self.episodes.name(number) for number in np.unique(self.episode_numbers(samples)).tolist()]

    def episode_numbers(self, samples: Ids) -> npt.NDArray[np.int32]:
        """(n,) int32: index in `episodes` of each sample's episode."""
        numbers: npt.NDArray[np.int32] = self._samples.facts["episode"][samples]
        return numbers

    def positives(self, task: int) -> float | None:
        """The share of positive samples among the task's online ones that have an indicator; None if none has."""
        return self._parts[task][Part.ONLINE].positives

    def releases(self, samples: Ids) -> npt.NDArray[np.int32]:
        """(n,) int32: the release that each frame was recorded under."""
        releases: npt.NDArray[np.int32] = self._samples.facts["release"][samples]
        return releases

    # ------------------------------------------------------------------ restart

    def all_draws(self) -> Ids:
        """(samples,) int32: a copy for the checkpoint, without the samples of forgotten episodes."""
        return self._samples.draws[self.episodes.remembered]

    def restore(self, draws: Ids, uncovered: Iterable[str]) -> None:
        """Take back the counts of a checkpoint, once the same episodes are held again in the same order."""
        self._samples.draws[self.episodes.remembered] = draws
        for parts in self._parts:
            parts[Part.ONLINE].weigh()
        self.coverage.keep(uncovered)
