"""What the buffer must know of an episode to draw from it, and what a batch holds of its samples."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetloop.core.algorithm import FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Array, Source
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.spec import PolicySpec
from fleetloop.learner.arrival import Prepared
from fleetloop.learner.buffer.payload import ACTIONS, SEEN, STATE, Rows
from fleetloop.learner.buffer.samples import FACTS

Frames = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Entry:
    """An episode and the n samples that may start in it.

    Attributes:
        facts: (n,) FACTS, the episode's number still open; weight: (n,) float32.
        release: the newest that it ran under; quality: 0 to 1, None if nobody said.
    """

    id: str
    task: str
    purpose: str
    instruction: str
    site: str
    robot: str
    outcome: Outcome
    judge: Judge
    quality: float | None
    release: int
    facts: Array
    weight: npt.NDArray[np.float32]


def entry_of(prepared: Prepared, horizon: int) -> Entry:
    """What is to be known of this one."""
    episode, labels = prepared.episode, prepared.labels
    meta, frames = episode.meta, np.flatnonzero(labels.train)
    releases = episode.column("release")
    facts = np.empty(len(frames), FACTS)
    facts["frame"], facts["release"] = frames, releases[frames]
    facts["targets"] = targets_of(labels, frames, horizon)
    facts["indicator"] = labels.indicator[frames]
    facts["human"] = episode.source[frames] == Source.HUMAN
    return Entry(
        id=meta.id,
        task=meta.task,
        purpose=meta.purpose,
        instruction=meta.instruction,
        site=meta.site,
        robot=meta.robot,
        outcome=meta.outcome,
        judge=meta.ending.judge if meta.ending else Judge.NOBODY,
        quality=prepared.quality,
        release=int(releases.max(initial=0)),
        facts=facts,
        weight=labels.weight[frames],
    )


def targets_of(labels: FrameLabels, frames: Frames, horizon: int) -> npt.NDArray[np.int64]:
    """(n,): how many actions are targets of the samples that start at these frames."""
    targets: npt.NDArray[np.int64] = np.minimum(labels.stop[frames] - frames, horizon)
    return targets


def rows_of(
    episode: Episode, spec: PolicySpec, frames: Frames, targets: npt.NDArray[np.integer], seen: Mapping[str, Array]
) -> Rows:
    """The payload of the samples at these frames, of which `seen` holds as many rows.

    The policy's inputs come first, then the labels that this robot records. Actions past the targets repeat the last.
    """
    recorded = {item.name: spec.rename.get(item.name, item.name) for item in spec.inputs}
    recorded |= {item.name: item.name for item in episode.meta.spec.state if item.label and item.name not in recorded}
    ahead = np.minimum(np.arange(spec.horizon), targets[:, None].astype(np.int64) - 1)
    return {
        **{name + STATE: episode.state(own)[frames] for name, own in recorded.items()},
        **{name + SEEN: values for name, values in seen.items()},
        ACTIONS: episode.action[frames[:, None] + ahead],
    }
