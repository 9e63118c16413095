"""Whether what an algorithm says of an episode can be trained on."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fleetloop.core.algorithm import FrameLabels
from fleetloop.core.errors import DEBUG, FleetLoopError
from fleetloop.learner.errors import LabelsInvalid

KINDS = {"train": np.bool_, "stop": np.integer, "weight": np.floating, "indicator": np.integer}
INDICATORS = (-1, 0, 1)
LOOK, TRACEBACK = "look at `Algorithm.label`", f"{DEBUG}=1 shows where"


def check_labels(labels: Any, episode: str, count: int) -> None:
    """Raises LabelsInvalid, naming the episode, unless these are labels of its `count` frames (see `FrameLabels`)."""
    if not isinstance(labels, FrameLabels):
        raise LabelsInvalid("labels", f"of {episode} are a {type(labels).__name__}", "return FrameLabels")
    for name, kind in KINDS.items():
        array: Any = getattr(labels, name)
        shape = getattr(array, "shape", None)
        if not isinstance(array, np.ndarray) or shape != (count,):
            given = f"has the shape {list(shape)}" if shape is not None else f"is a {type(array).__name__}"
            raise LabelsInvalid(f"labels.{name}", f"{given} for the {count} frames of {episode}", LOOK)
        if not np.issubdtype(array.dtype, kind):
            raise LabelsInvalid(f"labels.{name}", f"is {array.dtype} for {episode}", f"make it {kind.__name__}")
    check_values(labels, episode)
    frames = np.flatnonzero(labels.train)
    if ((labels.stop[frames] <= frames) | (labels.stop[frames] > count)).any():
        problem = f"lies before its own frame or past the end of {episode}"
        raise LabelsInvalid("labels.stop", problem, "it is one past the last frame whose action may be a target")


def check_values(labels: FrameLabels, episode: str) -> None:
    """Raises LabelsInvalid unless its weights are finite and not negative, and its indicators are known ones."""
    if not (np.isfinite(labels.weight).all() and (labels.weight >= 0).all()):
        raise LabelsInvalid("labels.weight", f"of {episode} is negative or not finite", "0 for never, 1 for as often")
    if not np.isin(labels.indicator, INDICATORS).all():
        raise LabelsInvalid("labels.indicator", f"of {episode} is unknown", "1 positive, 0 negative, -1 none")


def labelled_by(label: Callable[[], FrameLabels], episode: str) -> FrameLabels:
    """What the algorithm says. Raises LabelsInvalid, naming the episode, for whatever it raises that is no error of
    ours."""
    try:
        return label()
    except FleetLoopError:
        raise
    except Exception as error:
        problem = f"failed on episode {episode}: {in_a_line(error)}"
        raise LabelsInvalid("Algorithm.label", problem, TRACEBACK) from error


def in_a_line(error: Exception) -> str:
    """Other people's error, in words."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
