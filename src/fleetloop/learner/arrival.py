"""What reaches the learner: an episode made ready for the buffer, or news that changes nothing but the cursor."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from fleetloop.core.algorithm import Algorithm, FrameLabels
from fleetloop.core.episode import Episode
from fleetloop.core.errors import SpecMismatch
from fleetloop.core.frame import Array
from fleetloop.core.policy import Features
from fleetloop.core.spec import PolicySpec, check_fit
from fleetloop.learner.labels import check_labels, labelled_by


@dataclass(frozen=True)
class Prepared:
    """An episode with its labels, and what is seen in the n frames that train.

    Attributes:
        seen: camera name -> (n, h, w, 3) uint8 images, or what the policy's `features` made of them; None if nobody has
            looked yet: it is done when they are drawn.
        quality: 0 to 1, as the annotations so far say; None if nobody said.

    Raises:
        LabelsInvalid: if the labels don't fit the episode.
    """

    episode: Episode
    labels: FrameLabels
    seen: Mapping[str, Array] | None = field(default_factory=dict)
    quality: float | None = None

    def __post_init__(self) -> None:
        check_labels(self.labels, self.episode.meta.id, len(self.episode))


@dataclass(frozen=True)
class Arrival:
    """One event, dealt with as far as that is possible away from the training loop.

    Attributes:
        seq: its place in the hub's order; the learner's cursor once it is admitted.
        episode: whom it is about; empty if it concerns no buffer.
        prepared: what the buffer is to hold of that episode from now on; None for nothing.
        quality: if somebody spoke of that and of nothing else, what holds now; all else about the episode stays.
        gone: whether nothing is held of it for good: no restart will meet that episode again.
        known: whether it came in before, and somebody has said something about it.
    """

    seq: int
    episode: str = ""
    prepared: Prepared | None = None
    quality: float | None = None
    gone: bool = False
    known: bool = False


def labelled(episode: Episode, algorithm: Algorithm, spec: PolicySpec) -> Prepared:
    """Label an episode; its images are decoded when they are drawn.

    Raises:
        SpecMismatch: naming the episode whose robot doesn't offer what the policy needs.
        LabelsInvalid: if the algorithm's labels don't fit the episode.
    """
    try:
        check_fit(episode.meta.spec, spec)
    except SpecMismatch as error:
        raise SpecMismatch(f"episode {episode.meta.id}: {error.field}", error.problem, error.remedy) from error
    return Prepared(episode, labelled_by(lambda: algorithm.label(episode), episode.meta.id), None)


def prepare(episode: Episode, algorithm: Algorithm, spec: PolicySpec, features: Features | None = None) -> Prepared:
    """Label an episode and look at it.

    Raises:
        SpecMismatch, LabelsInvalid: as `labelled`.
        EpisodeInvalid: as `look`.
    """
    prepared = labelled(episode, algorithm, spec)
    return replace(prepared, seen=look(episode, np.flatnonzero(prepared.labels.train), spec, features))


def look(
    episode: Episode, frames: npt.NDArray[np.integer], spec: PolicySpec, features: Features | None = None
) -> Mapping[str, Array]:
    """Decode the images of these frames at the policy's resolution; what never changes of how the policy sees them
    (`features`) is computed here.

    Raises:
        EpisodeInvalid: naming a camera whose images can't be decoded.
    """
    images = {
        camera.name: episode.pictures(
            spec.rename.get(camera.name, camera.name), frames, height=camera.height, width=camera.width
        )
        for camera in spec.cameras
    }
    return images if features is None or not images else features(_recorded(episode, spec, frames), images)


def features_of(policy: Any) -> Features | None:
    """How this policy keeps what it sees; None: as images."""
    return getattr(policy, "features", None)


def is_held_out(episode: str, share: float) -> bool:
    """Whether a demonstration is kept for measuring. A matter of its id alone, so that every process agrees."""
    return int.from_bytes(blake3(episode.encode()).digest()[:6], "big") < share * (1 << 48)


def _recorded(episode: Episode, spec: PolicySpec, frames: npt.NDArray[np.integer]) -> dict[str, Array]:
    """All state of these frames, the policy's inputs under the policy's names."""
    state = {feature.name: episode.state(feature.name)[frames] for feature in episode.meta.spec.state}
    return state | {item.name: state[spec.rename.get(item.name, item.name)] for item in spec.inputs}
