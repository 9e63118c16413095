"""`fleetloop eval --retention`: what the tasks have lost that nobody worked at."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fleetloop.cli import tables
from fleetloop.cli.config import FleetConfig
from fleetloop.core.errors import ConfigInvalid
from fleetloop.lab.candidate import Candidate, from_base
from fleetloop.lab.evaluation import Tried
from fleetloop.lab.retention import Retained, by_task, report, retained
from fleetloop.learner.base import load_base

Try = Callable[[Candidate, Sequence[str]], list[Tried]]
"""Evaluates a candidate at tasks; the same resets for every candidate."""


def compare(
    config: FleetConfig,
    attempt: Try,
    tasks: Sequence[str] | None,
    later: Candidate,
    base: Path,
) -> dict[str, Any]:
    """Try the base and what came of it on the same resets, print the comparison and return it as JSON.

    Args:
        tasks: by default those that the base was made for and no robot of the fleet works at.
        base: its directory.

    Raises:
        ConfigInvalid: if there is no such task.
        BaseInvalid: if there is no base.
    """
    chosen = tuple(tasks or _not_worked_at(config, base))
    start = from_base(base)
    before, after = attempt(start, chosen), attempt(later, chosen)
    tasks_retained, together = by_task(before, after), retained(before, after)
    _show(f"{later.label} against {start.label}, on the same resets", {**tasks_retained, "together": together})
    return {"base": start.label, "release": later.label, **report(tasks_retained, together)}


def _not_worked_at(config: FleetConfig, directory: Path) -> list[str]:
    worked_at = set(config.all_tasks)
    left = [task for task in load_base(directory).facts.get("tasks", {}) if task not in worked_at]
    if not left:
        raise ConfigInvalid(
            "--retention", "the fleet works at every task that the base was made for", "name others with --tasks"
        )
    return left


def _show(title: str, rows_of: dict[str, Retained]) -> None:
    rows = tables.table("task", "base", "release", "lost", "gained", "loss", "95 % interval", "pairs", title=title)
    for task, item in rows_of.items():
        rates = f"{item.base:.3f}", f"{item.release:.3f}", str(item.lost), str(item.gained), f"{item.loss:.3f}"
        rows.add_row(task, *rates, f"{item.low:.3f} to {item.high:.3f}", str(item.episodes))
    tables.show(rows)
