"""RECAP's arithmetic (π*0.6, arXiv 2511.14759): returns, bins, advantages, thresholds. Numpy; no learning here.

Time is counted in control ticks. With reward −1 per tick, and at the last one 0 on success or −C_fail on failure, the
return of tick t of an episode that ends at tick T is

    R_t = −(T − t)            on success
    R_t = −(T − t) − C_fail   on failure

and −(H − t) − C_fail for what the policy did before a takeover at tick H. Divided by T_max + C_fail, which brings it
into [−1, 0], it says how long success is away, and failure lies below.

What the paper leaves open, settled here:
- *Timeout.* The limit is part of the task, so for the value function not to be done in time is a failure. But it is no
  terminal state: what the robot did in its last ticks was not the cause. So the advantage near that end goes on with
  V of the last observation, where success and failure use the Monte-Carlo return.
- *Takeover.* A person who takes over says that the policy would have failed. So for what it did before, the episode
  ends there, as a failure; that the person then brought it to a success is none of its doing. Without this the frames
  that made a takeover necessary look like a part of a success, and imitating those undoes what corrections teach.
- *Aborted.* Nobody knows how it would have ended: only what led to a takeover teaches the value function. Its
  advantages are those of a timeout.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetloop.algorithms.segments import takeovers
from fleetloop.core.episode import Episode
from fleetloop.core.frame import FloatArray, Source
from fleetloop.core.outcome import Outcome

Ticks = npt.NDArray[np.int32]
POSITIVE, NEGATIVE, NONE = 1, 0, -1
FAILED = (Outcome.FAILURE, Outcome.TIMEOUT)
TERMINAL = (Outcome.SUCCESS, Outcome.FAILURE)  # what the robot did last brought it about


@dataclass(frozen=True)
class Track:
    """What RECAP needs of an episode of T frames beside its observations: tick and source, (T,) each."""

    task: str
    outcome: Outcome
    online: bool
    hz: float
    tick: Ticks
    source: npt.NDArray[np.int8]

    @classmethod
    def of(cls, episode: Episode) -> "Track":
        meta, tick, source = episode.meta, episode.column("tick").copy(), episode.source.copy()
        return cls(meta.task, meta.outcome, meta.purpose == "online", meta.spec.control_hz, tick, source)


@dataclass(frozen=True)
class TaskScale:
    """The numbers of one task, in ticks, and its threshold.

    Attributes:
        t_max: the longest attempt; c_fail: what a failure costs; horizon: N, how far an advantage looks ahead.
        threshold: eps, in units of the normalised return.
        missing: `successes` or `failures` if none was seen, so that good can't be told from bad; else empty.
    """

    t_max: int
    c_fail: int
    horizon: int
    threshold: float = 0.0
    missing: str = ""

    @property
    def norm(self) -> int:
        return self.t_max + self.c_fail


def returns(track: Track, scale: TaskScale) -> FloatArray:
    """(T,) normalised Monte-Carlo returns in [−1, 0]; NaN where the ending is unknown."""
    taken = takeovers(track.source)
    ended = taken < len(track.tick)
    last = track.tick[np.where(ended, taken, -1)]
    final = np.where(ended | (track.outcome in FAILED), -scale.c_fail, 0)
    normalised: FloatArray = np.clip((track.tick - last + final) / scale.norm, -1, 0).astype(np.float32)
    if track.outcome is Outcome.ABORTED:
        normalised[~ended] = np.nan
    return normalised


def centres(bins: int) -> FloatArray:
    """(bins,) the returns that the bins stand for, from −1 to 0."""
    return np.linspace(-1, 0, bins, dtype=np.float32)


def binned(values: FloatArray, bins: int) -> npt.NDArray[np.int64]:
    """The nearest bin of each normalised return."""
    return np.rint((values + 1) * (bins - 1)).astype(np.int64)


def advantages(track: Track, values: FloatArray, scale: TaskScale) -> FloatArray:
    """(T,) A_t = (r_t + … + r_{t+N−1}) + V(o_{t+N}) − V(o_t), normalised; see above for the last N ticks."""
    tick, count, taken = track.tick, len(track.tick), takeovers(track.source)
    later = np.searchsorted(tick, tick + scale.horizon)  # the first frame N ticks on; past the end near it
    ahead = np.minimum(later, count - 1)
    bootstrapped = (tick - tick[ahead]) / scale.norm + values[ahead] - values
    ended = (later >= taken) & ((taken < count) | (track.outcome in TERMINAL))
    return np.where(ended, returns(track, scale) - values, bootstrapped).astype(np.float32)


def threshold(advantage: FloatArray, positives: float) -> float:
    """eps such that the share `positives` of these advantages lies above it."""
    return float(np.quantile(advantage, 1 - positives))


def indicators(track: Track, values: FloatArray | None, scale: TaskScale | None) -> npt.NDArray[np.int8]:
    """(T,) I_t = [A_t > eps]; human frames are positive; none for the policy's where good can't be told from bad."""
    indicator = np.full(len(track.tick), NONE, np.int8)
    if values is not None and scale is not None and not scale.missing:
        indicator[:] = advantages(track, values, scale) > scale.threshold
    indicator[track.source == Source.HUMAN] = POSITIVE
    return indicator
