"""Fitting RECAP's value function and thresholds: the next label version, made in bounded slices."""

import copy
import logging
import math
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from fleetloop.algorithms.recap_judgement import Judgement
from fleetloop.algorithms.recap_lessons import Lessons
from fleetloop.algorithms.recap_options import RecapOptions
from fleetloop.algorithms.recap_value import (
    FAILED,
    TaskScale,
    Track,
    advantages,
    binned,
    returns,
    threshold,
)
from fleetloop.algorithms.segments import takeovers
from fleetloop.core.algorithm import FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.errors import EpisodeInvalid, HubRefused, HubUnavailable
from fleetloop.core.frame import FloatArray, Source
from fleetloop.core.outcome import Outcome

log = logging.getLogger(__name__)

T = TypeVar("T")
_Slices: TypeAlias = Generator[HubUnavailable | None, None, T]
"""One bounded piece of work after the other; what it says is why one could not be done."""
LEAST_FRAMES = 8  # taken of each episode, however many there are
CLIP_NORM = 1.0


class ValueFit:
    """Reads the episodes, fits the value function to their returns, judges every frame. Implements core's Refresh.

    The distribution over bins is fitted by cross-entropy to the bin of each frame's Monte-Carlo return.

    Attributes:
        judgement: the one that it goes on from; once `ready`, the next one.
        steps: optimizer steps taken; loss: the last one's mean cross-entropy, in nats.
    """

    def __init__(self, start: Judgement, episodes: Mapping[str, Episode], options: RecapOptions, steps: int) -> None:
        """Take `steps` optimizer steps from a copy of the start's weights."""
        self.judgement, self.steps, self.loss = start, 0, math.nan
        self._episodes, self._ids = episodes, tuple(episodes)
        self._options, self._most_steps = options, steps
        self._labels: dict[str, FrameLabels] = {}
        self._late: deque[Episode] = deque()
        self._done = False
        self._slices = self._run()

    def work(self) -> None:
        """Read or judge one episode, or take one optimizer step. Raises HubUnavailable: call again later."""
        if not self._done:
            try:
                trouble = next(self._slices)
            except StopIteration:
                self._done = True
            else:
                if trouble is not None:
                    raise trouble
        elif self._late:
            episode = self._late[0]
            try:
                self._labels[episode.meta.id] = self.judgement.label(episode)
            except EpisodeInvalid as error:
                log.warning("%s is left out: %s", episode.meta.id, error)
            self._late.popleft()

    def add(self, episode: Episode) -> None:
        """Label this one too; it is learned from the next time."""
        self._late.append(episode)

    @property
    def ready(self) -> bool:
        return self._done and not self._late

    @property
    def labels(self) -> Mapping[str, FrameLabels]:
        return self._labels

    # ------------------------------------------------------------------ the slices

    def _run(self) -> _Slices[None]:
        version, critic = self.judgement.version + 1, copy.deepcopy(self.judgement.critic)
        lessons = Lessons(critic, self._options.value_bytes)
        tracks: dict[str, Track] = {}
        for id, most in zip(self._ids, self._shares(version), strict=True):
            found = yield from self._opened(id, partial(lessons.read, most=most))
            if found is not None and len(found.track.tick):
                tracks[id] = found.track
                if most:
                    lessons.take(found)
            yield None
        scales = _scales(list(tracks.values()), self._options)
        unjudged = replace(self.judgement, version=version, scales=scales, critic=critic)
        yield from self._fit(unjudged, lessons)
        values: dict[str, FloatArray] = {}
        for id in tracks:
            worth = yield from self._opened(id, unjudged.values)
            if worth is not None:
                values[id] = worth
            yield None
        scales = {}  # the same, with their thresholds
        for task, scale in unjudged.scales.items():
            judged = [(tracks[id], worth) for id, worth in values.items() if tracks[id].task == task]
            scales[task] = self._with_threshold(task, scale, judged) if judged else scale
        judgement = replace(unjudged, scales=scales)
        for id, worth in values.items():
            self._labels[id] = judgement.labels(tracks[id], worth)
            yield None
        self.judgement = judgement

    def _shares(self, version: int) -> list[int]:
        """How many frames of each episode it is fitted to: all alike, or, of very many episodes, a few of some."""
        count, most = len(self._ids), self._options.value_frames
        if count * LEAST_FRAMES <= most:
            return [most // max(count, 1)] * count
        rng = np.random.Generator(np.random.Philox(key=np.array([self._options.seed, version], np.uint64)))
        chosen = set(rng.choice(count, most // LEAST_FRAMES, replace=False).tolist())
        return [LEAST_FRAMES if index in chosen else 0 for index in range(count)]

    def _opened(self, id: str, look: Callable[[Episode], T]) -> _Slices[T | None]:
        """What is to be found in an episode, once the hub can be reached; None if it can't be read any more."""
        while True:
            try:
                return look(self._episodes[id])
            except HubUnavailable as error:
                trouble = error
            except (EpisodeInvalid, HubRefused) as error:
                log.warning("%s is left out: %s", id, error)
                return None
            yield trouble

    def _fit(self, judgement: Judgement, lessons: Lessons) -> _Slices[None]:
        """One optimizer step a slice, on frames drawn uniformly from those with a known return."""
        options, critic, read = self._options, judgement.critic, lessons.taken
        target = [returns(item.track, judgement.scales[item.track.task])[item.frames] for item in read]
        known = np.flatnonzero(~np.isnan(np.concatenate(target))) if read else np.empty(0, np.intp)
        if not len(known):
            return
        sights = lessons.sights()
        bins = torch.from_numpy(binned(np.concatenate(target)[known], options.bins))
        words = list(dict.fromkeys(item.instruction for item in read))
        said = np.concatenate([np.full(len(item.frames), words.index(item.instruction)) for item in read])
        weights = [weight for weight in critic.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=options.value_rate, weight_decay=options.value_decay, fused=True)
        rng = np.random.Generator(np.random.Philox(key=np.array([options.seed, judgement.version], np.uint64)))
        for step in range(self._most_steps):
            optimizer.param_groups[0]["lr"] = options.value_rate * _share(step / self._most_steps)
            chosen = rng.integers(len(known), size=options.value_batch)
            rows = known[chosen]
            used, instruction = np.unique(said[rows], return_inverse=True)
            logits = critic.logits(
                {name: array[rows] for name, array in sights.items()}, [words[index] for index in used], instruction
            )
            loss = F.cross_entropy(logits, bins[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, CLIP_NORM)
            optimizer.step()
            self.steps, self.loss = step + 1, loss.item()
            yield None

    def _with_threshold(self, task: str, scale: TaskScale, judged: Sequence[tuple[Track, FloatArray]]) -> TaskScale:
        """eps over the frames that it decides on: the policy's own; where there are none, over all.

        Corrections are positive and drawn as often as their weight says: the policy's own make up the target share.
        """
        found = [(track, advantages(track, values, scale)) for track, values in judged]
        own = [advantage[track.source == Source.POLICY] for track, advantage in found if track.online]
        decided = np.concatenate(own) if sum(map(len, own)) else np.concatenate([advantage for _, advantage in found])
        human = sum(int((track.source == Source.HUMAN).sum()) for track, _ in judged if track.online)
        corrections = self._options.intervention_weight * human
        positives = self._options.of(task).positives * (len(decided) + corrections) - corrections
        return replace(scale, threshold=threshold(decided, max(positives, 0.0) / len(decided)))


def fit_value(
    start: Judgement,
    episodes: Mapping[str, Episode],
    options: RecapOptions,
    progress: Callable[[int], None] = lambda steps: None,
) -> ValueFit:
    """The whole fit at once: what `value: frozen` labels by. `start` is `blank(policy, options)`, as a rule.

    `progress` is told each time how many optimizer steps have just been taken.
    """
    fit = ValueFit(start, episodes, options, options.value_steps)
    told = 0
    while not fit.ready:
        fit.work()
        progress(fit.steps - told)
        told = fit.steps
    return fit


def _scales(tracks: Sequence[Track], options: RecapOptions) -> dict[str, TaskScale]:
    """By task; the thresholds are still to come."""
    tasks = dict.fromkeys(track.task for track in tracks)
    return {task: _scale([track for track in tracks if track.task == task], options) for task in tasks}


def _scale(tracks: Sequence[Track], options: RecapOptions) -> TaskScale:
    own, hz = options.of(tracks[0].task), tracks[0].hz
    longest = max(int(track.tick[-1]) for track in tracks)
    t_max = max(1, longest if own.t_max_s is None else round(own.t_max_s * hz))
    c_fail = t_max if own.c_fail_s is None else round(own.c_fail_s * hz)
    outcomes = {track.outcome for track in tracks}
    missing = "" if Outcome.SUCCESS in outcomes else "successes"
    failed = outcomes & set(FAILED) or any((takeovers(track.source) < len(track.tick)).any() for track in tracks)
    missing = missing if failed else "failures"
    return TaskScale(t_max, c_fail, max(1, round(own.horizon_s * hz)), missing=missing)


def _share(done: float) -> float:
    """Of the learning rate: a short warm-up, then a cosine to nothing."""
    return min(1.0, 20 * done + 0.05) * 0.5 * (1 + math.cos(math.pi * done))
