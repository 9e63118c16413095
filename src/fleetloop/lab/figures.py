"""What a virtual fleet did, in figures."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fleetloop.core.outcome import Outcome

if TYPE_CHECKING:
    from fleetloop.lab.fleet import Row, VirtualFleet


def fleet_figures(fleet: "VirtualFleet") -> dict[str, Any]:
    """Everything but the policy's own success: see `docs/concepts/lab.md`."""
    rows, learner = fleet.rows, fleet.learner
    whole = [row for row in rows if row["outcome"] != Outcome.ABORTED]
    human, frames = sum(row["frames_human"] for row in rows), sum(row["frames"] for row in rows)
    hz = rows[0]["control_hz"] if rows else 1.0
    takeovers = sum(row["interventions"] for row in rows)
    by_task: Counter[str] = Counter()
    for row in rows:
        by_task[row["task"]] += row["frames_human"]
    return {
        "robots": len(fleet.plan.robots),
        "clock_s": fleet.now,
        "episodes": len(rows),
        "frames": frames,
        "frames_human": human,
        "frames_human_by_task": dict(sorted(by_task.items())),
        "intervention_minutes": human / hz / 60,
        "interventions": takeovers,
        "minutes_between_interventions": (frames - human) / hz / 60 / takeovers if takeovers else None,
        "autonomous_share": sum(row["frames_human"] == 0 for row in whole) / len(whole) if whole else None,
        "steps": learner.steps,
        "releases": learner.release,
        "metrics": learner.figures(),
        "working": working(whole),
    }


def working(rows: Sequence["Row"]) -> dict[str, Any]:
    """By task and minute: [episodes that ended, of which the policy did alone, human frames, frames]."""
    table: defaultdict[str, dict[int, list[int]]] = defaultdict(dict)
    for row in rows:
        minute = int(row["last_clock_s"] // 60)
        cell = table[row["task"]].setdefault(minute, [0, 0, 0, 0])
        alone = row["outcome"] == Outcome.SUCCESS and row["frames_human"] == 0
        for index, value in enumerate((1, int(alone), row["frames_human"], row["frames"])):
            cell[index] += value
    return {task: {str(minute): cell for minute, cell in sorted(cells.items())} for task, cells in table.items()}
