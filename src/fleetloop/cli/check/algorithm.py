"""The contract of an algorithm: its labels, its loss, what it keeps, its label versions."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fleetloop.cli.check.experience import batch_for, every_indicator
from fleetloop.cli.check.findings import expect
from fleetloop.core.algorithm import Algorithm, FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.policy import Batch, check_conditions
from fleetloop.learner.checkpoint import divided
from fleetloop.learner.labels import INDICATORS, check_labels
from fleetloop.weights.codec import from_safetensors, to_safetensors

DTYPES = {"train": "bool", "stop": "int32", "weight": "float32", "indicator": "int8"}
SLICES = 2000  # of a refresh: more, and it is not bounded
LATE = 1_000_000  # optimizer steps after which any refresh is due


@dataclass(frozen=True)
class AlgorithmSubject:
    """`algorithm` is set up with `policy`; `fresh` makes another under the same options, set up with it too."""

    algorithm: Algorithm
    fresh: Callable[[], Algorithm]
    policy: Any
    episodes: Sequence[Episode]

    def labels(self) -> list[tuple[Episode, FrameLabels]]:
        return [(episode, self.algorithm.label(episode)) for episode in self.episodes]

    def batch(self) -> Batch:
        """As the learner draws it; where the algorithm has conditions, under each of them and none."""
        self.labels()  # what is wrong with them is told in their own words
        batch = batch_for(self.policy, self.episodes, self.algorithm)
        if not self.algorithm.conditions:
            return batch
        return replace(batch, indicator=every_indicator(len(batch)))


def naming(subject: AlgorithmSubject) -> None:
    """It says by which name it goes and what robots may be conditioned on."""
    algorithm = subject.algorithm
    expect(isinstance(algorithm.name, str) and bool(algorithm.name), f"`name` is {algorithm.name!r}", "give it a name")
    known = f"`condition` is {algorithm.condition!r}, `conditions` {sorted(algorithm.conditions)}"
    expect(algorithm.condition in {"", *algorithm.conditions}, known, "robots act on one of them")
    check_conditions(subject.policy, algorithm.conditions)
    expect(isinstance(algorithm.alarm, str), f"`alarm` is {algorithm.alarm!r}", "say it in words; nothing is empty")


def shapes(subject: AlgorithmSubject) -> None:
    """Labels have one entry per frame, of the right kind."""
    for episode, labels in subject.labels():
        for name, dtype in DTYPES.items():
            array, wanted = np.asarray(getattr(labels, name)), f"{dtype}[{len(episode)}]"
            given = f"{array.dtype}{list(array.shape)}"
            expect(given == wanted, f"{name} is {given} for {len(episode)} frames", f"make it {wanted}")


def targets(subject: AlgorithmSubject) -> None:
    """A target begins at its own frame, ends within the episode and skips no missed tick."""
    for episode, labels in subject.labels():
        tick = episode.column("tick")
        for frame in map(int, np.flatnonzero(labels.train)):
            stop = int(labels.stop[frame])
            given = f"frame {frame} of {len(episode)} stops at {stop}"
            expect(frame < stop <= len(episode), given, "it is one past the last frame of the target")
            whole = int(tick[stop - 1] - tick[frame]) == stop - 1 - frame
            expect(whole, f"frame {frame} stops at {stop}, past a missed tick", "use algorithms.segments.segment_stops")


def one_driver(subject: AlgorithmSubject) -> None:
    """No target mixes what a person did with what the policy did."""
    for episode, labels in subject.labels():
        for frame in np.flatnonzero(labels.train):
            drivers = set(episode.source[frame : labels.stop[frame]])
            given = f"a target from frame {frame} has frames of {len(drivers)} drivers"
            expect(len(drivers) == 1, given, "stop it where the driver changes: mark each driver's segments apart")


def values(subject: AlgorithmSubject) -> None:
    """Weights are finite and not negative, indicators are 1, 0 or -1."""
    for _, labels in subject.labels():
        fine = bool(np.isfinite(labels.weight).all() and (labels.weight >= 0).all())
        expect(fine, "weights are not", "look at how they are computed")
        expect(
            bool(np.isin(labels.indicator, INDICATORS).all()), "indicators are not", "1 positive, 0 negative, -1 none"
        )


def learning_at_all(subject: AlgorithmSubject) -> None:
    """Something trains: of demonstrations and of online episodes with every driver and every ending."""
    trained = sum(int((labels.train & (labels.weight > 0)).sum()) for _, labels in subject.labels())
    expect(trained > 0, f"no frame of {len(subject.episodes)} episodes trains", "look at `train` and `weight`")


def purity(subject: AlgorithmSubject) -> None:
    """Labels are pure: the same again, in any order, under one version."""
    first = subject.labels()
    for episode, labels in reversed(first):
        again = subject.algorithm.label(episode)
        for field in fields(labels):
            same = np.array_equal(getattr(labels, field.name), getattr(again, field.name))
            expect(same, f"{field.name} differs the second time", "keep nothing between calls: change it by a refresh")


def losing(subject: AlgorithmSubject) -> None:
    """The loss is (B,), one per sample, finite, and its gradient reaches the policy."""
    batch = subject.batch()
    kept = _arrays(batch)
    losses = subject.algorithm.loss(subject.policy, batch, rng=torch.Generator().manual_seed(0))
    given, count = f"it has the shape {list(losses.shape)}", len(batch)
    expect(tuple(losses.shape) == (count,), given, f"return [{count}] for {count} samples: no mean over the batch")
    expect(bool(torch.isfinite(losses).all()), "it is not finite", "look at logarithms and divisions")
    expect(losses.requires_grad, "it carries no gradient", "compute it from `policy.loss`, in torch")
    parameters = [item for item in subject.policy.parameters() if item.requires_grad]
    gradients = torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
    there = [item for item in gradients if item is not None]
    expect(bool(there), "no parameter of the policy gets any", "call `policy.loss`")
    finite = all(bool(torch.isfinite(item).all()) for item in there)
    expect(finite, "its gradient is not finite", "look at roots, logarithms and divisions at 0")
    changed = [name for name, array in _arrays(batch).items() if not np.array_equal(kept[name], array)]
    expect(not changed, f"it changed the batch: {changed}", "work on a copy: dataclasses.replace")


def repeating(subject: AlgorithmSubject) -> None:
    """The same `rng` gives the same losses, so that a resumed run repeats."""
    batch = subject.batch()
    both = [
        subject.algorithm.loss(subject.policy, batch, rng=torch.Generator().manual_seed(1)).detach() for _ in range(2)
    ]
    expect(torch.equal(*both), "two losses differ", "draw from `rng` alone")


def surviving(subject: AlgorithmSubject) -> None:
    """What it keeps survives a restart: JSON values and numpy arrays, and a fresh one labels the same."""
    another, (arrays, rest) = subject.fresh(), divided(subject.algorithm.state_dict())
    another.load_state_dict({**json.loads(json.dumps(rest)), **from_safetensors(to_safetensors(arrays))})
    remedy = "put all that labels depend on into the state"
    versions = f"the version is {another.version} after the restart, not {subject.algorithm.version}"
    expect(another.version == subject.algorithm.version, versions, remedy)
    for episode, labels in subject.labels():
        same = _alike(labels, another.label(episode))
        expect(same, f"labels of {episode.meta.id} differ after the restart", remedy)


def refreshing(subject: AlgorithmSubject) -> None:
    """A refresh, if there is one, ends, relabels every episode and raises the version."""
    held = {episode.meta.id: episode for episode in subject.episodes}
    refresh = subject.algorithm.refresh(held, LATE)
    if refresh is None:
        return
    for _ in range(SLICES):
        if refresh.ready:
            break
        refresh.work()
    expect(refresh.ready, f"it is not ready after {SLICES} slices", "do more in a slice, or less altogether")
    missing = {id for id, episode in held.items() if len(episode)} - set(refresh.labels)
    expect(not missing, f"it has no labels for {sorted(missing)[:2]}", "relabel whatever is held")
    for episode, before_it in subject.labels():
        labels = refresh.labels.get(episode.meta.id, before_it)
        check_labels(labels, episode.meta.id, len(episode))
        same = all(np.array_equal(getattr(labels, name), getattr(before_it, name)) for name in ("train", "stop"))
        wrong = f"train or stop of {episode.meta.id} are others under the next version"
        expect(same, wrong, "a version changes weights and indicators alone")
    before = subject.algorithm.version
    subject.algorithm.switch(refresh)
    expect(subject.algorithm.version > before, f"the version stayed {before}", "count it up in `switch`")
    for episode, labels in subject.labels():
        same = _alike(labels, refresh.labels.get(episode.meta.id, labels))
        wrong = f"`label` says something else of {episode.meta.id} than the refresh did"
        expect(same, wrong, "after `switch` label by what it took over: so are episodes that come later")


def surviving_a_refresh(subject: AlgorithmSubject) -> None:
    """What a refresh has learned survives a restart as well."""
    surviving(subject)


CHECKS = (
    naming,
    shapes,
    targets,
    one_driver,
    values,
    learning_at_all,
    purity,
    losing,
    repeating,
    surviving,
    refreshing,
    surviving_a_refresh,
)


def _alike(one: FrameLabels, other: FrameLabels) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in DTYPES)


def _arrays(batch: Batch) -> dict[str, npt.NDArray[Any]]:
    """Copies of all that is in it, by name."""
    found: dict[str, npt.NDArray[Any]] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        inner = value if isinstance(value, Mapping) else {"": value}
        found |= {f"{field.name} {name}".strip(): np.array(array) for name, array in inner.items()}
    return found
