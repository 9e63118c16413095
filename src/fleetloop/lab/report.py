"""The reports: per experiment a page of tables, its pictures, and a JSON of the same, from what results there are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleetloop.core.disk import RealDisk
from fleetloop.lab import statistics
from fleetloop.lab.experiment import Experiment
from fleetloop.lab.forgetting import forgetting
from fleetloop.lab.job import as_json
from fleetloop.lab.plots import draw_arms, draw_time
from fleetloop.lab.results import Results
from fleetloop.lab.speed import speeds
from fleetloop.lab.tables import NOTHING, said, table
from fleetloop.sim.scene import CONTROL_HZ

HEAD = """# {name}: {question}

Written by `fleetloop lab report` from `{name}/ARM-SEED.json`. Success is that of the policy alone, on {episodes} resets
per task, seed and point that neither demonstrator nor fleet ever met, the same for all arms and seeds, disturbed, at
the sites of the experiment's whole fleet: a smaller fleet's policy is tried where none of its robots worked, too.
Demonstrations come from the nominal site, where nothing is nudged. Time is virtual: {minutes:g} minutes of the fleet's
clock, repeatable bit for bit.

**Privileged**: policies observe the simulator's state; operator and expert are scripted and read the true state; the
simulator judges. Brackets are 95 % intervals. With several seeds they are bootstrapped over seeds and resets; **with
one seed they tell of the resets alone** (Wilson's, and Tango's for paired differences): another seed of the same arm
may differ by more than they say.
"""


def write_report(experiment: Experiment, place: Path) -> Path:
    """Write `place/NAME.md`, `.json` and pictures; returns the page's path."""
    results, disk = Results.load(experiment, place), RealDisk()
    page = place / f"{experiment.name}.md"
    disk.make(place)
    if not results.arms:
        disk.write(page, f"# {experiment.name}: {experiment.question}\n\nNot yet run.\n".encode())
        return page
    pictures = [draw_arms(results, place / f"{experiment.name}.png")]
    pictures += draw_time(results, place / f"{experiment.name}-time.png")
    parts = [_head(results), *(f"![{path.stem}]({path.name})\n" for path in pictures), *_sections(results)]
    disk.write(page, "\n".join(parts).encode())
    disk.write(place / f"{experiment.name}.json", (json.dumps(summary(results), indent=1) + "\n").encode())
    return page


def summary(results: Results) -> dict[str, Any]:
    """The page's figures, and all that is needed to run the experiment again."""
    one, tasks = results.any, results.setting.tasks
    arms = {
        name: {
            "seeds": list(arm.seeds),
            "average": results.average(name).to_json(),
            "tasks": {task: statistics.rate(arm.won([task])).to_json() for task in tasks},
            "options": next(iter(arm.by_seed.values()))["options"],
            "cpu_s": [result["cpu_s"] for result in arm.by_seed.values()],
            "commits": sorted({str(result["commit"]) for result in arm.by_seed.values()}),
        }
        for name, arm in results.arms.items()
    }
    claims = [
        {"arm": claim.arm, "control": claim.control, "difference": found.to_json()}
        for claim in results.experiment.claims
        if (found := results.difference(claim.arm, claim.control))
    ]
    again = {name: one[name] for name in ("versions", "setting", "evaluation_seed", "privileged")}
    again["command"] = results.latest["command"]
    return {"experiment": results.experiment.name, **again, "arms": arms, "claims": claims, "missing": results.missing}


def _head(results: Results) -> str:
    one, setting = results.any, results.any["setting"]
    text = HEAD.format(
        name=results.experiment.name,
        question=results.experiment.question,
        episodes=setting["episodes"],
        minutes=one["minutes"],
    )
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
    missing = f"\nNot yet run: {', '.join(results.missing)}.\n" if results.missing else ""
    quick = "\n**A quick run**: it shows that everything works. Its figures mean nothing.\n" if one["quick"] else ""
    changed = _made_otherwise(results)
    other = f"\nMade under settings that were changed since: {', '.join(changed)}.\n" if changed else ""
    command = results.latest["command"]
    return f"{text}\nAgain: `{command}`, skipping what is there. {versions}.\n{quick}{other}{missing}"


def _made_otherwise(results: Results) -> list[str]:
    """The results whose settings are not those of the experiment as it stands, which their files tell."""
    now = as_json(results.experiment.quick if results.any["quick"] else results.setting)
    return [
        f"{name} of seed {seed} ({', '.join(differs)})"
        for name, arm in results.arms.items()
        for seed, result in arm.by_seed.items()
        if (differs := sorted(key for key in now if result["setting"].get(key) != now[key] and key != "minutes"))
    ]


def _sections(results: Results) -> list[str]:
    sections: list[tuple[str, Callable[[Results], str]]] = [
        ("Success", _success),
        ("Against the controls", _claims),
        ("Share of the gap to the expert that was closed", _gaps),
        ("Successes per robot-hour", _throughput),
        ("The fleet at work", _fleet),
        ("Guidance", _guidance),
        ("Time to target", speeds),
        ("Forgetting", forgetting),
        ("Seeds", _seeds),
    ]
    made = [(title, make(results)) for title, make in sections]
    return [f"## {title}\n\n{text}" for title, text in made if text]


def _success(results: Results) -> str:
    families = results.families
    rows = [
        [
            name,
            *(said(statistics.rate(arm.won(tasks))) for tasks in families.values()),
            f"**{results.average(name)}**",
            str(len(arm.seeds)),
        ]
        for name, arm in results.arms.items()
    ]
    text = table(["arm", *families, "average over tasks", "seeds"], rows)
    if len(families) == len(results.setting.tasks):
        return text
    tasks = results.setting.tasks
    by_task = [[name, *(f"{arm.won([task]).mean():.2f}" for task in tasks)] for name, arm in results.arms.items()]
    return f"{text}\nBy task:\n\n{table(['arm', *tasks], by_task)}"


def _claims(results: Results) -> str:
    families = results.families
    rows = []
    for claim in results.experiment.claims:
        found = results.difference(claim.arm, claim.control)
        by_family = [results.difference(claim.arm, claim.control, tasks) for tasks in families.values()]
        seeds = len(results.shared(claim.arm, claim.control))
        rows.append([claim.arm, claim.control, *map(said, by_family), said(found), str(seeds)])
    heads = ["arm", "control", *families, "difference of the averages, paired", "seeds"]
    return table(heads, rows) if rows else ""


def _gaps(results: Results) -> str:
    rows = []
    for name in results.arms:
        gaps = [results.gap_closed(name, tasks) for tasks in (*results.families.values(), results.setting.tasks)]
        if name not in ("expert", "pretrained") and any(gaps):
            rows.append([name, *map(said, gaps), str(len(results.shared(name, "pretrained", "expert")))])
    return table(["arm", *results.families, "all tasks", "seeds"], rows) if rows else ""


def _throughput(results: Results) -> str:
    rows = []
    for name, arm in results.arms.items():
        groups = (*results.families.values(), list(results.setting.tasks))
        found = [statistics.per_hour(arm.won(tasks), arm.ticks(tasks), CONTROL_HZ) for tasks in groups]
        rows.append([name, *(f"{item.value:.0f} [{item.low:.0f}, {item.high:.0f}]" for item in found)])
    text = table(["arm", *results.families, "all tasks in turn"], rows)
    return f"Of the final policy without an operator; an hour of driving, resets apart.\n\n{text}"


def _guidance(results: Results) -> str:
    """How the same policies do under other conditions; see concepts/algorithms.md."""
    rows, families = [], results.families
    for name, arm in results.arms.items():
        for (condition, beta), tried in arm.acts().items():
            rates = [statistics.rate(statistics.outcomes(tried, tasks)) for tasks in families.values()]
            whole = statistics.rate(statistics.outcomes(tried, results.setting.tasks))
            rows.append([name, condition or "none", f"{beta:g}", *map(said, rates), said(whole)])
    heads = ["arm", "condition", "beta", *families, "average over tasks"]
    text = "The same policies, evaluated on the same resets; robots act on `positive` at 1."
    return f"{text}\n\n{table(heads, rows)}" if rows else ""


def _fleet(results: Results) -> str:
    names = {
        "robots": "robots",
        "episodes": "episodes",
        "intervention_minutes": "intervention minutes",
        "autonomous_share": "autonomous share of episodes",
        "minutes_between_interventions": "minutes between interventions",
        "steps": "learner's steps",
        "releases": "releases",
        "replay_ratio": "online draws per online sample",
        "drawable": "online samples left to draw",
        "at_own_sites": "success where its robots worked",
    }
    rows = []
    for name, arm in results.arms.items():
        figures = [arm.fleet(figure) for figure in names]
        if any(figures):
            rows.append([name, *(f"{item.value:.4g}" if item else NOTHING for item in figures)])
    text = (
        "Means over the seeds. A sample that was drawn `learner.sampler.max_replay` times is drawn no more: where few "
        "are left at the end, demonstrations filled the batches. Of rounds that are trained offline, all together; the "
        "time of their training is not counted."
    )
    return f"{text}\n\n{table(['arm', *names.values()], rows)}" if rows else ""


def _seeds(results: Results) -> str:
    tasks = results.setting.tasks
    seeds = sorted({seed for arm in results.arms.values() for seed in arm.seeds})
    rows = []
    for name, arm in results.arms.items():
        rates = [f"{arm.won(tasks, [seed]).mean():.2f}" if seed in arm.seeds else NOTHING for seed in seeds]
        minutes = sum(result["cpu_s"] for result in arm.by_seed.values()) / len(arm.by_seed) / 60
        rows.append([name, *rates, f"{minutes:.1f}"])
    return table(["arm", *(f"seed {seed}" for seed in seeds), "CPU minutes of a job"], rows)
