"""What fleets have lost of the tasks that none of their robots works at: a part of a report."""

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
    return said + table(["arm", "tasks", "pairs", "before", "after", "only before", "only after", "loss"], rows)
