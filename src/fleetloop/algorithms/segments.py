"""Where a run of frames that may serve as targets comes to its end, and where a person ended it."""

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import Source


def segment_stops(member: npt.NDArray[np.bool_], tick: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """(T,) int32: for each member frame, one past the last frame of its run; for any other frame, its own index.

    A run is cut where a frame is no member and where ticks were missed: a chunk is one action per tick, so a target
    that bridged a gap would come too early.
    """
    count = len(member)
    index = np.arange(count, dtype=np.int32)
    last = np.ones(count, bool)
    last[:-1] = ~member[1:] | (np.diff(tick) != 1)
    ends = np.where(last, index + 1, count).astype(np.int32)
    stops = np.minimum.accumulate(ends[::-1])[::-1]
    return np.where(member, stops, index).astype(np.int32)


def takeovers(source: npt.NDArray[np.int8]) -> npt.NDArray[np.intp]:
    """(T,): for each frame that the policy drove, the index of the next one that a person did; T where none follows.

    T for all others, a person's pauses among them. What a policy did before a takeover made that necessary: whatever
    came of the episode, it is nothing to imitate.
    """
    count, human = len(source), source == Source.HUMAN
    following = np.minimum.accumulate(np.where(human, np.arange(count), count)[::-1])[::-1]
    return np.where(source == Source.POLICY, following, count)
