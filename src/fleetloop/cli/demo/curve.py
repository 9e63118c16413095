"""`curve.png`: success over the fleet's time, task by task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fleetloop.cli.demo.experience import WINDOW, Row, ended, rolling
from fleetloop.cli.demo.figures import Scores
from fleetloop.lab.evaluation import Score

COLUMNS = 3
LEAST_SHOWN = 5  # a success rate over fewer episodes says nothing
FLEET, EXPERT, CONTROL = "#1b6ca8", "#3a8f4f", "#b3552b"


def draw(
    path: Path, rows: list[Row], measured: Mapping[str, Scores], *, began_s: float, minutes: float, clock: str
) -> None:
    """Write the picture. `began_s` is when all robots ran, by the fleet's clock; `measured` as in `figures.py`."""
    tasks = list(measured["before"])
    columns = min(COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.1 * lines + 0.9), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis, task in zip(axes, tasks, strict=False):
        _panel(axis, task, ended(rows, task), measured, began_s, minutes)
    for axis in axes[len(tasks) :]:
        axis.set_visible(False)
    for axis in axes[max(len(tasks) - columns, 0) : len(tasks)]:
        axis.set_xlabel(f"minutes of the fleet's {clock} clock")
        axis.tick_params(labelbottom=True)
    for axis in axes[::columns]:
        axis.set_ylabel("success rate")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    figure.supxlabel(
        f"Line: episodes that the policy finished alone, mean of the last {WINDOW}. Operator and expert are scripted "
        "and privileged: they read the simulator's true state.\nMarkers and dashed lines: evaluation without any "
        "operator, on unseen seeds; bars are 95 % intervals.",
        fontsize=7,
    )
    FigureCanvasAgg(figure)
    figure.savefig(path)


def _panel(
    axis: Any, task: str, rows: list[Row], measured: Mapping[str, Scores], began_s: float, minutes: float
) -> None:
    times = [(row["last_clock_s"] - began_s) / 60 for row in rows]
    values = rolling(rows)
    axis.set_title(task, fontsize=10)
    shown = slice(LEAST_SHOWN - 1, None)
    axis.plot(times[shown], values[shown], color=FLEET, label="fleet at work, without help")
    for name, label, colour in (
        ("expert", "expert", EXPERT),
        ("control_after", "control: demonstrations alone", CONTROL),
    ):
        axis.axhline(measured[name][task].rate, color=colour, linestyle="--", linewidth=1, label=label)
    for name, place, face in (("before", 0.0, "white"), ("after", minutes, FLEET)):
        score = measured[name][task]
        axis.errorbar(
            [place],
            [score.rate],
            _bars(score),
            fmt="o",
            color=FLEET,
            markerfacecolor=face,
            capsize=3,
            label=f"evaluated {name}",
            clip_on=False,
        )
    axis.set_ylim(0, 1.02)
    axis.set_xlim(0, minutes)
    axis.grid(alpha=0.25)


def _bars(score: Score) -> np.ndarray[Any, Any]:
    return np.array([[score.rate - score.low], [score.high - score.rate]]).clip(0)
