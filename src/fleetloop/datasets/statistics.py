"""Statistics of a LeRobotDataset: of each episode, and of all of them together."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import Array

Stats = dict[str, npt.NDArray[np.float64]]
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
IMAGES_SAMPLED, PIXELS_APART = 32, 4  # of an episode's images; LeRobot samples too


def of_values(values: Array) -> Stats:
    """Over (T, …): each of shape (…), or (1,) for plain numbers; `count` (1,)."""
    wide = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": wide.min(0), "max": wide.max(0), "mean": wide.mean(0), "std": wide.std(0)}
    quantiles = np.quantile(wide, list(QUANTILES.values()), axis=0)
    found |= dict(zip(QUANTILES, quantiles, strict=True))
    return {**found, "count": np.array([len(values)], np.float64)}


def sampled(count: int) -> list[int]:
    """Which of so many images of an episode are looked at."""
    chosen: list[int] = np.unique(np.linspace(0, count - 1, IMAGES_SAMPLED).astype(int)).tolist()
    return chosen


def of_images(images: Sequence[npt.NDArray[np.uint8]], count: int) -> Stats:
    """Over a sample of `count` (height, width, 3) images: each of shape (3, 1, 1), in [0, 1]; `count` (1,)."""
    pixels = np.concatenate([image[::PIXELS_APART, ::PIXELS_APART].reshape(-1, 3) for image in images])
    found = {name: value.reshape(-1, 1, 1) for name, value in of_values(pixels / 255).items()}
    return {**found, "count": np.array([count], np.float64)}


def together(parts: Sequence[Mapping[str, npt.NDArray[np.float64]]]) -> Stats:
    """Of everything, from those of its parts; quantiles are means of theirs, weighted by count, as LeRobot does it."""
    counts = np.array([part["count"][0] for part in parts])
    weight = (counts / counts.sum()).reshape(-1, *[1] * parts[0]["mean"].ndim)
    stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    mean = (weight * stacked["mean"]).sum(0)
    variance = (weight * (stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2)).sum(0)
    quantiles = {name: (weight * stacked[name]).sum(0) for name in QUANTILES}
    return {
        "min": stacked["min"].min(0),
        "max": stacked["max"].max(0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([counts.sum()]),
        **quantiles,
    }
