"""The adaptive sampler of SOP (arXiv 2601.03044): which tasks, and how much of each from fresh experience.

For each task, W records of the mean loss of its online and of its offline samples are kept; one record is the mean over
one optimizer step. With their means l_on and l_off,

    w_on = exp(a * l_on) / (exp(a * l_on) + exp(l_off)),   clipped to [least_online, most_online]

so that a high online loss brings more fresh experience, and demonstrations come back once it is learned.

What the paper leaves open, settled here:
- *Loss scale.* The exponentials mean nothing until losses have a unit. With `task_mean` both means are divided by the
  mean of the task's own offline window, so l_off is 1 and l_on says how much harder the fresh experience is. `raw`
  leaves them as they are.
- *Cold start.* Until both windows hold `cold_start_records`, w_on is `cold_start_online`.
- *Weights.* Among the samples of a slot's task and part, each is drawn as often as its label's weight says. A weight
  in the loss would have the same mean, and be seen as seldom as before.
- *Repetition.* No online sample is drawn more than `max_replay` times; what would go beyond that goes offline.
- *Empty parts.* A slot whose part is empty falls to the same task's other part; a task with neither is not drawn;
  surplus without demonstrations of its task is left out, and the batch is that much smaller.
- *What is to be kept.* A task in `least_offline` draws at least that share from its demonstrations: its w_on is capped
  at one minus it. A task in `task_weight` has that weight when tasks share a batch, and 1 otherwise; so demonstrations
  of tasks that nobody works at are rehearsed at little cost.
- *Tasks.* `uniform` is the paper's 1/M. The others mix it, half and half, with shares proportional to how many samples
  a task holds (`experience`, the default: long and hard tasks gather most), to its mean loss (`loss`), or to one minus
  the success rate of the policy on its own (`success`; a corrected episode counts as none).

Draws come from Philox keyed by (seed, step), whose counter is the slot: every rank computes the same global batch and
takes its slice, and a resumed run draws what the uninterrupted one would have drawn.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import Array
from fleetloop.learner.buffer.buffer import ExperienceBuffer, Part
from fleetloop.learner.buffer.samples import Ids
from fleetloop.learner.errors import CheckpointInvalid
from fleetloop.learner.options import SamplerOptions

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """Slots of one batch: the sample, its task, and whether it is online; (n,) each."""

    samples: Ids
    task: npt.NDArray[np.int64]
    online: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.samples)

    def rank(self, rank: int, world: int) -> "Draw":
        """The slots of one of `world` ranks; together they are the whole, each slot once."""
        cut = slice(rank * len(self) // world, (rank + 1) * len(self) // world)
        return Draw(self.samples[cut], self.task[cut], self.online[cut])


@dataclass(frozen=True)
class _Standing:
    """What a draw asks of a buffer, whatever the losses; it holds as long as the buffer's `changes` do.

    Attributes:
        held: (tasks, 2), whether each part holds anything to draw; weight: (tasks,), 0 for tasks that hold nothing.
        sizes: (tasks,), how many samples a task holds.
        versions: (2 * tasks,), of the parts.
    """

    buffer: ExperienceBuffer
    changes: int
    held: npt.NDArray[np.bool_]
    weight: Shares
    sizes: Shares
    versions: npt.NDArray[np.int64]

    @classmethod
    def of(cls, buffer: ExperienceBuffer, weights: Mapping[str, float]) -> "_Standing":
        parts = [(task, part) for task in range(len(buffer.tasks)) for part in _PARTS]
        held = np.array([buffer.mass(task, part) > 0 for task, part in parts], bool).reshape(-1, 2)
        weight = np.array([weights.get(task, 1.0) for task in buffer.tasks]) * held.any(axis=1)
        sizes = np.array([buffer.size(task, part) for task, part in parts], float).reshape(-1, 2).sum(axis=1)
        versions = np.array([buffer.version(task, part) for task, part in parts], np.int64)
        return cls(buffer, buffer.changes, held, weight, sizes, versions)


@dataclass(frozen=True)
class _Picked:
    """What was picked for the slots of a step, and (2 * tasks,) the versions of the parts that it was picked from.

    A slot's pick depends on its number, its task and part, and on what that part holds: where none of them has changed
    it is the same again. So a draw that was made ahead, as a guess, leaves little to do on time.
    """

    buffer: ExperienceBuffer
    step: int
    u: Shares
    task: npt.NDArray[np.int64]
    online: npt.NDArray[np.bool_]
    samples: Ids
    versions: npt.NDArray[np.int64]

    def answers(self, buffer: ExperienceBuffer, step: int, size: int) -> bool:
        return self.buffer is buffer and self.step == step and len(self.u) == size

    def again(self, task: npt.NDArray[np.int64], online: npt.NDArray[np.bool_], versions: npt.NDArray[np.int64]) -> Ids:
        """What is to be picked now; only the slots that may differ are looked up."""
        group, known = 2 * task + online, len(self.versions)  # there may be more parts now
        same = (self.versions == versions[:known])[np.minimum(group, known - 1)]
        fresh = np.flatnonzero(~same | (2 * self.task + self.online != group))
        samples = self.samples.copy()
        if len(fresh):
            samples[fresh] = _pick(self.buffer, task[fresh], online[fresh], self.u[fresh, 2])
        return samples


class AdaptiveSampler:
    """Keeps the loss windows, and draws."""

    def __init__(self, options: SamplerOptions, seed: int) -> None:
        self._options, self._seed = options, seed
        self._windows = np.zeros((0, 2, options.window))  # by task, by Part
        self._counts = np.zeros((0, 2), np.int64)
        self._successes: list[deque[bool]] = []
        self._standing: _Standing | None = None
        self._picked: _Picked | None = None

    # ------------------------------------------------------------------ what it has seen

    def record(self, task: npt.NDArray[np.int64], online: npt.NDArray[np.bool_], losses: Shares) -> None:
        """One optimizer step's (n,) losses, averaged per (task, buffer) into one record each."""
        self._know(int(task.max()) + 1)
        group = 2 * task + online
        size = 2 * len(self._counts)
        counts = np.bincount(group, minlength=size)
        means = np.bincount(group, weights=losses, minlength=size) / np.maximum(counts, 1)
        for index in np.flatnonzero(counts):
            one, part = divmod(int(index), 2)
            self._windows[one, part, self._counts[one, part] % self._options.window] = means[index]
            self._counts[one, part] += 1

    def note_episode(self, task: int, unaided_success: bool) -> None:
        """An online episode came in."""
        self._know(task + 1)
        self._successes[task].append(unaided_success)

    def losses(self, tasks: int) -> Shares:
        """(tasks, 2): the windows' means, offline and online; NaN where there is no record."""
        self._know(tasks)
        filled = np.minimum(self._counts, self._options.window)
        with np.errstate(invalid="ignore"):
            means: Shares = self._windows.sum(axis=2) / filled
        return means[:tasks]

    def online_shares(self, tasks: Sequence[str]) -> Shares:
        """(tasks,): w_on of every task, as if both its parts held samples."""
        options = self._options
        means = self.losses(len(tasks))
        cold = (self._counts[: len(tasks)] < options.cold_start_records).any(axis=1)
        means[cold] = 1.0
        if options.loss_scale == "task_mean":
            means = means / np.maximum(means[:, :1], np.finfo(float).tiny)
        exponent = np.clip(options.boost * means[:, 1] - means[:, 0], -700, 700)
        shares = np.clip(1 / (1 + np.exp(-exponent)), options.least_online, options.most_online)
        kept = np.array([options.least_offline.get(task, 0.0) for task in tasks])
        capped: Shares = np.minimum(np.where(cold, options.cold_start_online, shares), 1 - kept)
        return capped

    def task_shares(self, weight: Shares, sizes: Shares) -> Shares:
        """(tasks,): each task's share of a batch, by the (tasks,) weights, 0 for what holds nothing, and the (tasks,)
        numbers of samples held."""
        uniform: Shares = weight / weight.sum()
        if self._options.across_tasks == "uniform":
            return uniform
        need = weight * (sizes if self._options.across_tasks == "experience" else self._need(len(weight)))
        return uniform if need.sum() <= 0 else 0.5 * uniform + 0.5 * need / need.sum()

    def _need(self, tasks: int) -> Shares:
        if self._options.across_tasks == "success":
            self._know(tasks)
            return np.array([1 - np.mean(seen) if seen else 1.0 for seen in self._successes[:tasks]])
        means = self.losses(tasks)
        known = ~np.isnan(means)
        counts = known.sum(axis=1)
        sums = np.where(known, means, 0).sum(axis=1)
        overall = sums.sum() / max(counts.sum(), 1)
        means_of_tasks: Shares = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
        return means_of_tasks

    def _know(self, tasks: int) -> None:
        if (missing := tasks - len(self._counts)) > 0:
            self._windows = np.concatenate([self._windows, np.zeros((missing, 2, self._options.window))])
            self._counts = np.concatenate([self._counts, np.zeros((missing, 2), np.int64)])
            self._successes += [deque(maxlen=self._options.success_window) for _ in range(missing)]

    # ------------------------------------------------------------------ drawing

    def can_draw(self, buffer: ExperienceBuffer) -> bool:
        """Whether any task that has a weight holds a sample."""
        return bool(self._stands(buffer).weight.any())

    def draw(self, buffer: ExperienceBuffer, step: int, size: int) -> Draw:
        """The global batch of a step; empty if nothing can be drawn."""
        stands = self._stands(buffer)
        if not stands.weight.any():
            return Draw(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, bool))
        known = self._picked if self._picked and self._picked.answers(buffer, step, size) else None
        u = known.u if known else numbers(self._seed, step, size)
        edges = np.cumsum(self.task_shares(stands.weight, stands.sizes))
        task = np.searchsorted(edges / edges[-1], u[:, 0], side="right").astype(np.int64)
        online = u[:, 1] < self.online_shares(buffer.tasks)[task]
        online = np.where(stands.held[task, online.astype(int)], online, ~online)
        samples = known.again(task, online, stands.versions) if known else _pick(buffer, task, online, u[:, 2])
        self._picked = _Picked(buffer, step, u, task, online, samples, stands.versions)
        return self._spare_used_up(buffer, Draw(samples, task, online), u[:, 3])

    def _stands(self, buffer: ExperienceBuffer) -> _Standing:
        known = self._standing
        if known is None or known.buffer is not buffer or known.changes != buffer.changes:
            known = self._standing = _Standing.of(buffer, self._options.task_weight)
        return known

    def _spare_used_up(self, buffer: ExperienceBuffer, draw: Draw, u: Shares) -> Draw:
        """Send offline what would be an online sample's draw number `max_replay` + 1 or beyond."""
        fresh = np.flatnonzero(draw.online)
        if not len(fresh) or buffer.draws(draw.samples[fresh]).max() + len(fresh) <= self._options.max_replay:
            return draw
        before = buffer.draws(draw.samples[fresh]) + occurrence(draw.samples[fresh])
        surplus = fresh[before >= self._options.max_replay]
        online = draw.online.copy()
        online[surplus] = False
        keep = np.ones(len(draw), bool)
        keep[surplus] = [buffer.mass(task, Part.OFFLINE) > 0 for task in draw.task[surplus].tolist()]
        samples = draw.samples.copy()
        moved = surplus[keep[surplus]]
        samples[moved] = _pick(buffer, draw.task[moved], online[moved], u[moved])
        return Draw(samples[keep], draw.task[keep], online[keep])

    # ------------------------------------------------------------------ restart

    def state(self) -> dict[str, Array]:
        """The windows, and what is known of successes: a row per task, the oldest first, filled up with -1."""
        successes = np.full((len(self._successes), self._options.success_window), -1, np.int8)
        for row, seen in zip(successes, self._successes, strict=True):
            row[: len(seen)] = seen
        return {"windows": self._windows.copy(), "counts": self._counts.copy(), "successes": successes}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Raises CheckpointInvalid if the windows are of another length."""
        if state["windows"].shape[2] != self._options.window:
            raise CheckpointInvalid(
                "sampler.window",
                f"is {self._options.window}; the checkpoint's is {state['windows'].shape[2]}",
                "keep it as it was, or start a new run",
            )
        known = len(state["counts"])
        self._know(known)
        self._windows[:known], self._counts[:known] = state["windows"], state["counts"]
        # Of episodes that are gone nothing else tells; those that came since are not among them, and not here yet.
        for task, row in enumerate(state.get("successes", ())):
            self._successes[task] = deque(row[row >= 0].astype(bool).tolist(), maxlen=self._options.success_window)


_PARTS = (Part.OFFLINE, Part.ONLINE)


def numbers(seed: int, step: int, slots: int) -> Shares:
    """(slots, 4) in [0, 1): row i depends on seed, step and i alone."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, step], np.uint64))).random((slots, 4))


def occurrence(values: Ids) -> npt.NDArray[np.intp]:
    """(n,): how many equal values stand before each one."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    run = np.repeat(first, np.diff(np.append(first, len(values))))
    counts = np.empty(len(values), np.intp)
    counts[order] = np.arange(len(values)) - run
    return counts


def _pick(buffer: ExperienceBuffer, task: npt.NDArray[np.int64], online: npt.NDArray[np.bool_], u: Shares) -> Ids:
    """Turn numbers in [0, 1) into samples of each slot's part, which must have mass."""
    samples = np.empty(len(task), np.int32)
    group = 2 * task + online
    counts = np.bincount(group).tolist()
    slots = np.argsort(group, kind="stable")
    ordered, first = u[slots], 0
    for one, count in enumerate(counts):
        if count:
            drawn = buffer.pick(one // 2, _PARTS[one % 2], ordered[first : first + count])
            samples[slots[first : first + count]] = drawn
            first += count
    return samples
