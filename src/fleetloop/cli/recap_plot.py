"""The picture of `fleetloop recap plot`: what the value function says along an episode, beside its frames."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fleetloop.algorithms.recap_judgement import Judgement
from fleetloop.algorithms.recap_value import NEGATIVE, POSITIVE, Track, returns
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid, EpisodeInvalid
from fleetloop.core.frame import Source
from fleetloop.core.spec import FeatureSpec
from fleetloop.policies.scene_fields import has_scene

FRAMES = 8
VALUE, RETURN, ADVANTAGE = "#1b6ca8", "#9a9a9a", "#444444"
GOOD, BAD, HUMAN, OTHER = "#3a8f4f", "#b3552b", "#6a4c93", "#c9c9c9"
LEGEND = {"loc": "lower right", "bbox_to_anchor": (1, 0.98), "fontsize": 8, "frameon": False, "ncols": 2}


def draw(path: Path, episode: Episode, judgement: Judgement) -> None:
    """Write a PNG.

    Raises:
        EpisodeInvalid: if it has no frame.
        ConfigInvalid: if the value function has never seen its task, or `path` can't be written.
    """
    meta = episode.meta
    if not len(episode):
        raise EpisodeInvalid(meta.id, "has no frame")
    if meta.task not in judgement.scales:
        known = ", ".join(judgement.scales) or "no task"
        raise ConfigInvalid(meta.task, "is unknown to the value function", f"it knows {known}")
    shown = np.linspace(0, len(episode) - 1, FRAMES).astype(int)
    pictures = [_picture(episode, frame) for frame in shown.tolist()]
    strip = pictures[0] is not None
    figure = Figure(figsize=(11, 6.4 if strip else 5.4), layout="constrained")
    grid = figure.add_gridspec(4 if strip else 3, FRAMES, height_ratios=[0.9, 2, 2, 0.5] if strip else [2, 2, 0.5])
    time = (episode.column("tick") - episode.column("tick")[0]) / meta.spec.control_hz
    if strip:
        for column, (frame, picture) in enumerate(zip(shown.tolist(), pictures, strict=True)):
            _frame(figure.add_subplot(grid[0, column]), picture, float(time[frame]))
    axes = [figure.add_subplot(grid[row, :]) for row in range(strip, 3 + strip)]
    for axis in axes[1:]:
        axis.sharex(axes[0])
    _curves(axes, time, episode, judgement)
    for axis in axes[:2]:
        axis.tick_params(labelbottom=False)
        axis.plot(
            time[shown], np.zeros(FRAMES), "v", transform=axis.get_xaxis_transform(), color="k", ms=4, clip_on=False
        )
    by = f"label version {judgement.version}"
    figure.suptitle(f"{meta.task}, “{meta.instruction}”: {meta.outcome}  ({meta.id}, {by})", fontsize=10)
    FigureCanvasAgg(figure)
    try:
        figure.savefig(path, dpi=110, format=path.suffix[1:] or "png")
    except (OSError, ValueError) as error:
        raise ConfigInvalid(
            str(path), f"can't be written ({error})", "name a .png, .svg or .pdf file in a directory that is there"
        ) from error


def _curves(axes: list[Any], time: npt.NDArray[Any], episode: Episode, judgement: Judgement) -> None:
    scale, track = judgement.scales[episode.meta.task], Track.of(episode)
    values = judgement.values(episode)
    advantages, labels = judgement.advantages(episode, values), judgement.labels(track, values)
    value, advantage, bands = axes
    value.plot(time, values, color=VALUE, label="V(o), value function")
    known = returns(track, scale)
    if not np.isnan(known).all():
        value.plot(time, known, color=RETURN, ls="--", lw=1, label="what came: the return")
    value.set(ylabel="normalised return", ylim=(-1.03, 0.03))
    value.legend(**LEGEND)
    advantage.axhline(0, color="#dddddd", lw=1)
    advantage.plot(time, advantages, color=ADVANTAGE, lw=1, label=f"A, over N = {scale.horizon / track.hz:g} s")
    advantage.axhline(scale.threshold, color=GOOD, lw=1, ls=":", label=f"threshold {scale.threshold:+.3f}")
    above = advantages > scale.threshold
    advantage.fill_between(time, scale.threshold, advantages, where=above, color=GOOD, alpha=0.35, lw=0)
    advantage.fill_between(time, scale.threshold, advantages, where=~above, color=BAD, alpha=0.35, lw=0)
    advantage.set(ylabel="advantage")
    advantage.legend(**LEGEND)
    _band(
        bands,
        1,
        time,
        {"policy": (track.source == Source.POLICY, OTHER), "human": (track.source == Source.HUMAN, HUMAN)},
    )
    indicator = labels.indicator
    _band(bands, 0, time, {"positive": (indicator == POSITIVE, GOOD), "negative": (indicator == NEGATIVE, BAD)})
    bands.set(yticks=[0.4, 1.4], yticklabels=["indicator", "driver"], ylim=(0, 1.9), xlabel="seconds since the reset")
    bands.legend(loc="upper center", bbox_to_anchor=(0.5, -0.9), fontsize=8, frameon=False, ncols=4)
    bands.spines[:].set_visible(False)


def _band(axis: Any, row: int, time: npt.NDArray[Any], groups: dict[str, tuple[npt.NDArray[np.bool_], str]]) -> None:
    width = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    for name, (member, colour) in groups.items():
        if member.any():
            axis.broken_barh([(start, width) for start in time[member]], (row, 0.8), color=colour, lw=0, label=name)


def _frame(axis: Any, picture: Any, seconds: float) -> None:
    """A camera's image, or a sketch: (places, grippers), (n, 2) metres each, from above."""
    if isinstance(picture, tuple):
        places, grippers, limits = picture
        axis.scatter(*places.T, s=14, marker="s", color="#b9c4cc")
        axis.scatter(*grippers.T, s=30, marker="o", color=[VALUE, BAD][: len(grippers)])
        axis.set(xlim=limits[0], ylim=limits[1], aspect="equal")
    else:
        axis.imshow(picture)
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{seconds:.1f} s", fontsize=8)


def _picture(episode: Episode, frame: int) -> Any:
    """What the first camera saw; a sketch of grippers and entities where there is no camera; else None."""
    spec = episode.meta.spec
    if spec.cameras:
        return episode.picture(spec.cameras[0].name, frame)
    features = {feature.name: feature for feature in spec.state}
    if not has_scene(spec.state):
        return None
    hands, entities = (_from_above(episode, features[name]) for name in ("hands", "entities"))
    used = episode.state("mask")[frame] > 0
    everything = np.concatenate([hands.reshape(-1, 2), entities[episode.state("mask") > 0]])
    limits = [(low - 0.03, high + 0.03) for low, high in zip(everything.min(0), everything.max(0), strict=True)]
    return entities[frame][used], hands[frame], limits


def _from_above(episode: Episode, feature: FeatureSpec) -> npt.NDArray[Any]:
    """(T, n, 2) x and y."""
    return episode.state(feature.name)[..., [feature.fields.index("x"), feature.fields.index("y")]]
