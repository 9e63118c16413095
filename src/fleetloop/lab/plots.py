"""The pictures of a report."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fleetloop.lab import statistics
from fleetloop.lab.results import ArmResults, Results
from fleetloop.lab.speed import TARGET, WINDOW, curves

CONTROLS = ("expert", "pretrained", "more-steps", "more-demonstrations")
ARM, CONTROL, EXPERT = "#1b6ca8", "#b3552b", "#3a8f4f"
ROLLING = 5  # minutes


def draw_arms(results: Results, path: Path) -> Path:
    """Every arm's success, by family and on average, with its interval."""
    names, families = list(results.arms), results.families
    figure = Figure(figsize=(2.2 + 2.2 * (len(families) + 1), 1.2 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(families) + 1, sharey=True)
    for axis, (family, tasks) in zip(axes[1:], families.items(), strict=True):
        axis.set_title(family, fontsize=10)
        for row, name in enumerate(names):
            _bar(axis, row, name, statistics.rate(results.arms[name].won(tasks)))
    axes[0].set_title("average over tasks", fontsize=10)
    for row, name in enumerate(names):
        _bar(axes[0], row, name, results.average(name))
    for axis in axes:
        axis.set_xlim(0, 1.02)
        axis.set_xlabel("success", fontsize=9)
        axis.grid(alpha=0.25, axis="x")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0].invert_yaxis()
    figure.supxlabel("Bars are 95 % intervals. Operator and expert are scripted and privileged.", fontsize=7)
    return _saved(figure, path)


def draw_time(results: Results, path: Path) -> list[Path]:
    """Success over time: evaluated on the way where it was, else of the fleet at work; nothing for neither."""
    watched = {name: arm for name, arm in results.arms.items() if curves(arm)}
    working = {name: arm for name, arm in results.arms.items() if any("fleet" in item for item in arm.by_seed.values())}
    if not watched and not working:
        return []
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axis = figure.subplots()
    for name, arm in (watched or working).items():
        minutes, rates = _evaluated(arm) if watched else _at_work(arm)
        axis.plot(minutes, rates, label=name, linewidth=1.6)
    if watched:
        axis.axhline(TARGET, color="grey", linestyle="--", linewidth=1)
    for name, colour in (("pretrained", CONTROL), ("expert", EXPERT)):
        if name in results.arms:
            axis.axhline(results.average(name).value, color=colour, linestyle=":", label=name)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("minutes of the fleet's virtual clock")
    axis.set_ylabel(
        f"success, mean of {WINDOW} evaluations" if watched else f"episodes done alone, mean of {ROLLING} minutes",
        fontsize=9,
    )
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return [_saved(figure, path)]


def _bar(axis: Any, row: int, name: str, estimate: statistics.Estimate) -> None:
    colour = EXPERT if name == "expert" else CONTROL if name in CONTROLS or name.startswith("base-") else ARM
    ends = [[max(estimate.value - estimate.low, 0)], [max(estimate.high - estimate.value, 0)]]
    axis.errorbar([estimate.value], [row], xerr=ends, fmt="o", color=colour, capsize=3, markersize=5, clip_on=False)


def _evaluated(arm: ArmResults) -> tuple[list[float], list[float]]:
    """The mean over the seeds, as far as all of them went, smoothed."""
    found = list(curves(arm).values())
    length = min(len(curve.rates) for curve in found)
    mean = np.mean([curve.rates[:length] for curve in found], axis=0)
    window = min(WINDOW, length)
    return found[0].minutes[window - 1 : length], np.convolve(mean, np.ones(window) / window, mode="valid").tolist()


def _at_work(arm: ArmResults) -> tuple[list[float], list[float]]:
    """Episodes that the policy did alone, each task counting the same, over the last minutes."""
    tables = [result["fleet"]["working"] for result in arm.by_seed.values() if "fleet" in result]
    last = max((int(minute) for table in tables for cells in table.values() for minute in cells), default=-1)
    minutes, rates = [], []
    for now in range(last + 1):
        span = {str(minute) for minute in range(max(0, now - ROLLING + 1), now + 1)}
        cells = [
            [cell for minute, cell in task.items() if minute in span] for table in tables for task in table.values()
        ]
        shares = [sum(cell[1] for cell in task) / ended for task in cells if (ended := sum(cell[0] for cell in task))]
        if shares:
            minutes.append(now + 1.0)
            rates.append(float(np.mean(shares)))
    return minutes, rates


def _saved(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
    return path
