"""What fleets have lost of the tasks that none of their robots works at, and what it costs the others to keep them."""

from fleetloop.lab import statistics
from fleetloop.lab.results import Results
from fleetloop.lab.retention import tango
from fleetloop.lab.tables import table

BASE = "pretrained"


def forgetting(results: Results) -> str:
    """As Markdown: base minus arm on the same resets, with its interval; empty if robots work at every task."""
    worked_at = {task for robot in results.setting.robots for task in robot.tasks}
    kept = [task for task in results.setting.tasks if task not in worked_at]
    if not kept or BASE not in results.arms:
        return ""
    rows = []
    for name, arm in results.arms.items():
        for tasks in [] if name == BASE else [kept, *([task] for task in kept)]:
            seeds = results.shared(name, BASE)
            if not seeds:
                continue
            after, before = arm.won(tasks, seeds), results.arms[BASE].won(tasks, seeds)
            lost, gained = int((before > after).sum()), int((after > before).sum())
            low, high = tango(lost, gained, before.size)
            loss = f"{before.mean() - after.mean():.3f} [{low:.3f}, {high:.3f}]"
            rates = [f"{item.mean():.2f}" for item in (before, after)]
            rows.append([name, " and ".join(tasks), str(before.size), *rates, str(lost), str(gained), loss])
    said = (
        "Of the tasks that nobody works at: pairs of episodes on the same resets, and base minus arm with Tango's "
        "score interval (95 %, two-sided), whose upper end bounds the loss. "
        "It takes the pairs of several seeds as independent.\n\n"
    )
    text = said + table(["arm", "tasks", "pairs", "before", "after", "only before", "only after", "loss"], rows)
    return f"{text}\n{_cost(results, [task for task in results.setting.tasks if task in worked_at])}"


def _cost(results: Results, worked_at: list[str]) -> str:
    """What claims between two fleets say of the tasks that robots work at, one by one."""
    rows = []
    for claim in results.experiment.claims:
        for tasks in [] if claim.control == BASE else [worked_at, *([task] for task in worked_at)]:
            seeds = results.shared(claim.arm, claim.control)
            if not seeds:
                continue
            one, other = (results.arms[name].won(tasks, seeds) for name in (claim.arm, claim.control))
            named = tasks[0] if len(tasks) == 1 else "all that robots work at"
            rates = [f"{item.mean():.2f}" for item in (one, other)]
            rows.append([claim.arm, claim.control, named, *rates, str(statistics.paired(one, other))])
    if not rows:
        return ""
    heads = ["arm", "control", "tasks", "success", "the control's", "difference, paired"]
    return f"What it costs the tasks that robots do work at:\n\n{table(heads, rows)}"
