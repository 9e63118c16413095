"""One label version of RECAP: a value function with its tasks' scales and thresholds. It never changes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fleetloop.algorithms.recap_options import RecapOptions
from fleetloop.algorithms.recap_value import TaskScale, Track, advantages, centres, indicators
from fleetloop.algorithms.segments import segment_stops
from fleetloop.core.algorithm import FrameLabels
from fleetloop.core.critic import Critic
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.frame import FloatArray, Source
from fleetloop.core.policy import TrainablePolicy

CRITIC = "critic."
MOST_FRAMES = 1024  # of an episode that are judged at once: a critic may look at their pictures


def blank(policy: TrainablePolicy, options: RecapOptions) -> "Judgement":
    """Version 0: a critic that has learned nothing, and no task that it could judge.

    Raises:
        ConfigInvalid: if the policy offers no critic.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return Judgement(0, {}, _critic(policy, options.bins))


def kept(policy: TrainablePolicy, state: Mapping[str, Any], origin: str) -> "Judgement":
    """What `state_dict` once gave of a judgement by such a policy, of however many bins.

    Raises:
        ConfigInvalid: naming `origin` if it is of another value network; or if the policy offers no critic.
    """
    return Judgement.from_state(state, _critic(policy, _bins(policy, state)), origin)


def _bins(policy: TrainablePolicy, state: Mapping[str, Any]) -> int:
    """The length that the shapes in `state` have where those of a critic change with the bins."""
    two, three = (_critic(policy, bins).state_dict() for bins in (2, 3))
    for name, tensor in two.items():
        shape = state[CRITIC + name].shape if CRITIC + name in state else ()
        changes = np.not_equal(tensor.shape, three[name].shape)
        if changes.any() and len(shape) == len(changes):
            return int(shape[changes.argmax()])
    return RecapOptions().bins  # it is no such network's: taking its weights in will fail


def _critic(policy: TrainablePolicy, bins: int) -> Critic:
    if not hasattr(policy, "critic"):
        raise ConfigInvalid(
            "algorithm.name",
            f"recap needs a value network, and the policy {type(policy).__name__} offers none",
            "give it a method `critic(bins)`, see HasCritic in fleetloop.core.critic",
        )
    critic: Critic = policy.critic(bins)
    return critic


@dataclass(frozen=True)
class Judgement:
    """Labels episodes.

    Attributes:
        version: 0 before the first value function.
        scales: by task; a task that is not among them can't be judged.
        critic: its weights are frozen.
        intervention_weight: of a human frame of an online episode; every other frame has 1.
    """

    version: int
    scales: Mapping[str, TaskScale]
    critic: Critic
    intervention_weight: float = 1.0

    def label(self, episode: Episode) -> FrameLabels:
        """Every frame that the policy or a person drove trains, towards the first change of source."""
        track = Track.of(episode)
        return self.labels(track, self.values(episode) if self.can_judge(track.task) else None)

    def labels(self, track: Track, values: FloatArray | None) -> FrameLabels:
        """The same, from (T,) values."""
        policy, human = track.source == Source.POLICY, track.source == Source.HUMAN
        stop = np.where(human, segment_stops(human, track.tick), segment_stops(policy, track.tick))
        return FrameLabels(
            train=policy | human,
            stop=stop.astype(np.int32),
            weight=np.where(human & track.online, self.intervention_weight, 1).astype(np.float32),
            indicator=indicators(track, values, self.scales.get(track.task)),
            version=self.version,
        )

    def can_judge(self, task: str) -> bool:
        """Whether good can be told from bad in this task."""
        return task in self.scales and not self.scales[task].missing

    @torch.no_grad()
    def values(self, episode: Episode) -> FloatArray:
        """(T,) float32 V(o_t), the expectation of the normalised return; in [−1, 0]."""
        count = len(episode)
        if not count:
            return np.empty(0, np.float32)
        pieces = np.split(np.arange(count), range(MOST_FRAMES, count, MOST_FRAMES))
        return np.concatenate([self._values_at(episode, frames) for frames in pieces])

    def _values_at(self, episode: Episode, frames: npt.NDArray[np.intp]) -> FloatArray:
        sights = self.critic.look(episode, frames)
        logits = self.critic.logits(sights, (episode.meta.instruction,), np.zeros(len(frames), np.int64))
        values: FloatArray = (torch.softmax(logits, -1) @ torch.from_numpy(centres(logits.shape[1]))).numpy()
        return values

    def advantages(self, episode: Episode, values: FloatArray) -> FloatArray:
        """(T,) normalised. Raises KeyError for a task that it doesn't know."""
        return advantages(Track.of(episode), values, self.scales[episode.meta.task])

    # ------------------------------------------------------------------ to keep it

    def state_dict(self) -> dict[str, Any]:
        """JSON values, and the critic's weights as numpy arrays."""
        weights = {CRITIC + name: tensor.numpy().copy() for name, tensor in self.critic.state_dict().items()}
        return {"version": self.version, "scales": {task: asdict(one) for task, one in self.scales.items()}, **weights}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], critic: Critic, origin: str) -> "Judgement":
        """Into `critic`. Raises ConfigInvalid naming `origin` if the state is of another value network."""
        weights = {
            name.removeprefix(CRITIC): torch.from_numpy(np.array(array))
            for name, array in state.items()
            if name.startswith(CRITIC)
        }
        try:
            critic.load_state_dict(weights)
            scales = {task: TaskScale(**values) for task, values in state["scales"].items()}
            return cls(int(state["version"]), scales, critic)
        except (RuntimeError, KeyError, TypeError) as error:
            problem = " ".join(str(error).split())
            raise ConfigInvalid(
                origin, f"is no value function of this policy ({problem})", "make one with `fleetloop recap fit`"
            ) from error
