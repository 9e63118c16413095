"""The reports: per experiment a page of tables, its pictures, and a JSON of the same, from what results there are."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleetloop.core.disk import RealDisk
from fleetloop.lab import statistics
from fleetloop.lab.experiment import Experiment
from fleetloop.lab.forgetting import forgetting
from fleetloop.lab.plots import draw_arms, draw_time
from fleetloop.lab.results import ROBOTS_ACT, Results
from fleetloop.lab.speed import speeds
from fleetloop.lab.tables import NOTHING, said, table
from fleetloop.sim.scene import CONTROL_HZ

HEAD = """# {name}: {question}

Written by `fleetloop lab report` from `{name}/ARM-SEED.json`. Success is that of the policy alone, at the end, on
{episodes} resets per task that neither demonstrator nor fleet ever met, the same for all arms and seeds, disturbed, at
the sites of the experiment's whole fleet: a smaller fleet's policy is tried where none of its robots worked, too.
Demonstrations come from the nominal site, where nothing is nudged. Time is virtual: {minutes:g} minutes of the fleet's
clock, repeatable bit for bit.

**Privileged**: policies observe the simulator's state; operator and expert are scripted and read the true state; the
simulator judges. Brackets are 95 % intervals. With several seeds they are bootstrapped over seeds and resets; **with
one seed they tell of the resets alone** (Wilson's, and Tango's for paired differences; bootstrapped for ratios), and
another seed of the same arm will often lie outside: where seeds differ as they do here, such a bracket of three seeds
holds the truth 95 times in 100, of two 94, of one 62 to 73 (`tests/lab/test_lab_coverage.py`).
"""


def write_report(experiment: Experiment, place: Path) -> Path | None:
    """Write `place/NAME.md`, `.json` and pictures; returns the page's path. Without any result, nothing and None.

    Raises:
        ConfigInvalid: naming a result that is none, or that can't be set beside the others.
        DiskTrouble.
    """
    results, disk = Results.load(experiment, place), RealDisk()
    if not results.arms:
        return None
    page = place / f"{experiment.name}.md"
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
    versions = ", ".join(f"{name} {' and '.join(found)}" for name, found in results.versions.items())
    missing = f"\nNot yet run: {', '.join(results.missing)}.\n" if results.missing else ""
    quick = "\n**A quick run**: it shows that everything works. Its figures mean nothing.\n" if one["quick"] else ""
    changed = _made_otherwise(results)
    other = f"\nMade under settings that were changed since: {', '.join(changed)}.\n" if changed else ""
    command, commits = results.latest["command"], len(results.commits)
    if commits > 1:
        other += f"\nMade at {commits} commits of the code, which the JSON beside names by arm.\n"
    return f"{text}\nAgain: `{command}`, skipping what is there. {versions}.\n{quick}{other}{missing}"


def _made_otherwise(results: Results) -> list[str]:
    """The results that would not be made so by the experiment as it stands, as their files tell, and in what."""
    said = []
    for name, arm in results.arms.items():
        differing: defaultdict[str, list[str]] = defaultdict(list)
        for seed, result in arm.by_seed.items():
            if differs := results.otherwise(name, result):
                differing[", ".join(differs)].append(str(seed))
        said += [f"{name} of seed {' and '.join(seeds)} ({differs})" for differs, seeds in differing.items()]
    return said


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
        rows.append([name, *(item.rounded() for item in found)])
    text = table(["arm", *results.families, "all tasks in turn"], rows)
    return f"Of the final policy without an operator; an hour of driving, resets apart.\n\n{text}"


def _guidance(results: Results) -> str:
    """How the same policies do under other conditions; see concepts/algorithms.md."""
    rows, families, tasks = [], results.families, results.setting.tasks
    for name, arm in results.arms.items():
        acts = arm.acts()
        for (condition, beta), tried in acts.items():
            rates = [statistics.rate(statistics.outcomes(tried, family)) for family in families.values()]
            whole = statistics.outcomes(tried, tasks)
            more = statistics.paired(whole, statistics.outcomes(acts[ROBOTS_ACT], tasks))
            better = NOTHING if (condition, beta) == ROBOTS_ACT else said(more)
            rows.append([name, condition or "none", f"{beta:g}", *map(said, [*rates, statistics.rate(whole)]), better])
    heads = ["arm", "condition", "beta", *families, "average over tasks", "more than as robots act, paired"]
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
        if any(figure is not None for figure in figures):
            rows.append([name, *map(_figure, names, figures)])
    text = (
        "Means over the seeds. A sample that was drawn `learner.sampler.max_replay` times is drawn no more: where few "
        "are left at the end, demonstrations filled the batches. Of rounds that are trained offline, all together; the "
        "time of their training is not counted, and each trains from the base. What a frozen value function was fitted "
        "to is not counted either: the whole fleet, for a tenth of the time, unaided."
    )
    return f"{text}\n\n{table(['arm', *names.values()], rows)}" if rows else ""


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.2f}" if name == "at_own_sites" else f"{value:.4g}"


def _seeds(results: Results) -> str:
    tasks = results.setting.tasks
    seeds = sorted({seed for arm in results.arms.values() for seed in arm.seeds})
    rows = []
    for name, arm in results.arms.items():
        rates = [f"{arm.won(tasks, [seed]).mean():.2f}" if seed in arm.seeds else NOTHING for seed in seeds]
        minutes = sum(result["cpu_s"] for result in arm.by_seed.values()) / len(arm.by_seed) / 60
        rows.append([name, *rates, f"{minutes:.1f}"])
    return table(["arm", *(f"seed {seed}" for seed in seeds), "CPU minutes of a job"], rows)
