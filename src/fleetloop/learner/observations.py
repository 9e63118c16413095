"""What the frames at which samples start showed: state, labels for auxiliary losses, and what was seen of images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetloop.core.episode import Episode
from fleetloop.core.frame import Array
from fleetloop.core.spec import PolicySpec
from fleetloop.learner.columns import Column

Rows = npt.NDArray[np.int32]


class Observations:
    """One row per sample, in columns by name.

    Args:
        spec: of the policy; fixes its inputs.
        scratch: a directory for what is seen; None to keep it in memory.
    """

    def __init__(self, spec: PolicySpec, scratch: Path | None) -> None:
        self._spec, self._scratch = spec, scratch
        self._state = {item.name: Column(item.shape, item.dtype) for item in spec.inputs}
        self._seen: dict[str, Column] = {}  # made when the first episode says what is kept of its images

    def extend(self, episode: Episode, frames: Rows, seen: Mapping[str, Array], before: int) -> None:
        """Append these frames of an episode, of which `seen` holds as many rows; `before`: samples so far."""
        for feature in self._spec.inputs:
            recorded = self._spec.rename.get(feature.name, feature.name)
            self._state[feature.name].extend(episode.state(recorded)[frames])
        self._extend_labels(episode, frames, before)
        for name, rows in seen.items():
            if name not in self._seen:
                file = self._scratch / f"{name}.seen" if self._scratch else None
                self._seen[name] = Column(rows.shape[1:], rows.dtype, file)
            self._seen[name].extend(rows)

    def state(self, samples: Rows) -> dict[str, Array]:
        """(n, …) each: the policy's inputs and the labels."""
        return {name: column.rows.take(samples, axis=0) for name, column in self._state.items()}

    def seen(self, samples: Rows) -> dict[str, Array]:
        """(n, …) each: images at the policy's resolution, or its features of them."""
        return {name: column.rows.take(samples, axis=0) for name, column in self._seen.items()}

    def _extend_labels(self, episode: Episode, frames: Rows, before: int) -> None:
        """Robots may record labels or not: what one did not record is unknown."""
        inputs = {feature.name for feature in self._spec.inputs}
        offered = {feature.name: feature for feature in episode.meta.spec.state if feature.label}
        for name, feature in offered.items():
            if name not in self._state:
                self._state[name] = Column(feature.shape, feature.dtype)
                self._state[name].extend(_unknown(before, self._state[name]))
        for name, column in self._state.items():
            if name in offered:
                column.extend(episode.state(name)[frames])
            elif name not in inputs:
                column.extend(_unknown(len(frames), column))


def _unknown(count: int, like: Column) -> Array:
    """What a label holds where a robot recorded none: NaN, -1 for signed integers, else 0."""
    value = {"f": np.nan, "i": -1}.get(like.rows.dtype.kind, 0)
    return np.full((count, *like.rows.shape[1:]), value, like.rows.dtype)
