"""Writes docs/results/demo.md from the reports beside it: python docs/write_results.py

A report is what `fleetloop demo --report FILE.json` wrote, unchanged.
"""

import json
from pathlib import Path
from statistics import mean
from typing import Any

RESULTS = Path(__file__).parent / "results"
STAGES = ("before", "after", "control_after", "expert")
HEAD = """# The demo, measured

Written by `python docs/write_results.py` from the reports in [reports/](reports). Machine: 2 cores (virtual, of a
shared Intel Xeon), 24 GiB, no GPU, Debian 12. Success is that of the policy alone, without an operator, on resets that
nobody had seen, at the robots' own sites, disturbed; the same resets in every column. Intervals are 95 % (Wilson).

**Privileged**: the policy observes the simulator's state; the operator is scripted, reads the expert and the true
state, and decides by them when to take over; the simulator judges success. The **control** takes the same number of
gradient steps, with the same settings, from the same base, on the demonstrations alone.

Not all of this is of one day. The ten-minute runs are of 2026-11-21, evening (commit fb14059; its policy acts from
the centre of its noise); the machine was not idle, which costs wall time and missed ticks: an earlier run of seed 0
that day, with the same policy on a quieter machine, ended at .81 in 249 s. The hour was run that morning, when the
policy did not yet relate things by their names (commit 86ea291 with the demonstrations and steps of 16dc6a4). It is the
third such run of that day on seed 0, after .62 and .77, and what was mended between them was found by looking at that
seed's failures: another seed may give less. The real-time run, the words and the control loop are of 2026-11-20: then
the learner took 5 steps a second instead of 8, and the scripted operator's gate watched the hands' motion instead of
the task's progress.
"""


def main() -> None:
    parts = [HEAD]
    standard = _reports("demo-seed*.json")
    if standard:
        parts.append(_standard(standard))
    for name, title, command in (
        (
            "demo-long",
            "An hour, with the box assembled",
            "fleetloop demo --tasks restock/shelf,laundry/fold,box/assemble --minutes 60",
        ),
        ("demo-real-time", "In real time, four robots", "fleetloop demo --real-time --minutes 4"),
    ):
        parts += [
            f"## {title}\n\n`{command} --report FILE.json`\n\n{_tasks(report)}\n\n{_facts([report])}"
            for report in _reports(f"{name}.json")
        ]
    parts += [_through_cameras(report) for report in _reports("demo-images.json")]
    parts.append(_words())
    parts.append(_control_loop())
    (RESULTS / "demo.md").write_text("\n".join(part.rstrip() + "\n" for part in parts))


def _through_cameras(report: dict[str, Any]) -> str:
    said = (
        "`fleetloop demo --observe images --report FILE.json` (2026-11-29, on a machine that had other work: of a "
        "hundred ticks three were missed, and it stood still for ten minutes). The policy is told the grippers' poses "
        "and sees through an overhead and two wrist cameras of 96 px, by a frozen encoder whose labels came from the "
        "simulator ([images](../how-to/images.md)). No bar was set."
    )
    picture = "![Success over time, through cameras](demo-images-curve.png)"
    return f"## Through cameras\n\n{said}\n\n{_tasks(report)}\n\n{picture}\n\n{_facts([report])}"


def _words() -> str:
    """Whether the policy listens: told what another scene would have said, it must fail."""
    told, shuffled = (_reports(f"{name}.json")[0]["tasks"]["restock/shelf"] for name in ("words", "words-shuffled"))
    command = "fleetloop eval -c demo/fleet.yaml --release 122 --tasks restock/shelf --episodes 100"
    return (
        "## The words matter\n\nThe last release of seed 0 on `restock/shelf` (12 items, 4 shelves, 3 items in the "
        f"scene), with `fleetloop hub -c demo/fleet.yaml` running:\n\n`{command}`: {_rate(told)}\n\n"
        f"`… --shuffle-instructions` (told what another scene would have said): {_rate(shuffled)}\n\n"
        "Nothing matches words to things by rule: items and instructions share word embeddings, and attention between "
        "them is learned, helped in training by labels of what an instruction names (simulation's ground truth)."
    )


def _control_loop() -> str:
    """Ticks missed beside an empty loop."""
    report = _reports("control.json")[0]
    rows = ["| loop | ticks | missed | p50 ms | p99 ms | p99.9 ms | worst ms |", "|---|---|---|---|---|---|---|"]
    for loop in ("actor", "empty"):
        late = report[loop]
        figures = " | ".join(f"{late[name]:.2f}" for name in ("p50_ms", "p99_ms", "p99.9_ms", "worst_ms"))
        rows.append(f"| {loop} | {late['ticks']} | {late['missed']} | {figures} |")
    return (
        "## The control loop waits for nothing\n\n`python bench/control.py --seconds 120 --hz 20 --report FILE.json`: "
        f"lateness of ticks on the real clock, one robot, while {report['megabytes_uploaded']:.0f} MB went up and "
        f"{report['releases_run']} releases were swapped in, beside an empty deadline loop in the same run.\n\n"
        + "\n".join(rows)
    )


def _reports(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((RESULTS / "reports").glob(pattern))]


def _standard(reports: list[dict[str, Any]]) -> str:
    rows = ["| seed | before | after | control | expert | gap closed |", "|---|---|---|---|---|---|"]
    for report in reports:
        average = report["average"]
        figures = " | ".join(f"{average[stage]:.2f}" for stage in STAGES)
        rows.append(f"| {report['seed']} | {figures} | {average['gap_closed']:.2f} |")
    means = " | ".join(f"**{mean(report['average'][stage] for report in reports):.2f}**" for stage in STAGES)
    rows.append(f"| mean | {means} | **{mean(report['average']['gap_closed'] for report in reports):.2f}** |")
    by_seed = "\n\n".join(f"Seed {report['seed']}:\n\n{_tasks(report)}" for report in reports)
    return (
        "## Ten minutes, three tasks\n\n"
        "`fleetloop demo --seed N --report FILE.json` for N = 0, 1, 2. Processes meet at other moments each "
        "time, so a seed does not repeat a run. Average over the tasks:\n\n"
        + "\n".join(rows)
        + f"\n\n![Success over time, seed 0](demo-curve.png)\n\n{by_seed}\n\n{_facts(reports)}"
    )


def _tasks(report: dict[str, Any]) -> str:
    rows = ["| task | before | after | control | expert |", "|---|---|---|---|---|"]
    for task, stages in report["tasks"].items():
        rows.append(f"| {task} | " + " | ".join(_rate(stages[stage]) for stage in STAGES) + " |")
    average = report["average"]
    rows.append("| average | " + " | ".join(f"**{average[stage]:.2f}**" for stage in STAGES) + " |")
    return "\n".join(rows)


def _rate(score: dict[str, Any]) -> str:
    return f"{score['rate']:.2f} [{score['low']:.2f}, {score['high']:.2f}] ({score['successes']}/{score['episodes']})"


def _facts(reports: list[dict[str, Any]]) -> str:
    head = "| | " + " | ".join(f"seed {report['seed']}" for report in reports) + " |"
    rows = [head, "|---|" + "---|" * len(reports)]

    def row(name: str, show: Any) -> None:
        rows.append(f"| {name} | " + " | ".join(show(report) for report in reports) + " |")

    def latency(name: str) -> Any:
        return lambda report: " / ".join(f"{report['latency_s'][name][part]:.2f}" for part in ("p50", "p99"))

    clocks = ", ".join(sorted({report["latency_s"]["clock"] for report in reports}))
    row("wall seconds", lambda report: f"{report['wall_s']:.0f}")
    row("CPU seconds", lambda report: f"{report['cpu_s']:.0f}")
    row("clock seconds per real second", lambda report: f"{report['time_scale']['mean']:.1f}")
    row("episodes / takeovers", lambda report: f"{report['episodes']} / {report['interventions']}")
    row("human share of frames (scripted, privileged)", lambda report: f"{report['human_share']:.0%}")
    row("learner steps / releases", lambda report: f"{report['learner_steps']} / {report['releases']}")
    row("replay ratio", lambda report: f"{report['replay_ratio']:.0f}")
    row("data wait of the learner", lambda report: f"{report['data_wait']:.1%}")
    row("lost / duplicated", lambda report: f"{report['lost']} / {report['duplicated']}")
    row("ticks missed of frames", lambda report: f"{report['ticks_missed']} of {report['frames']}")
    row("MB up / down", lambda report: f"{report['bytes_up'] / 1e6:.0f} / {report['bytes_down'] / 1e6:.0f}")
    row(f"episode to batch, p50 / p99 s ({clocks} clock)", latency("episode_to_batch"))
    row(f"publish to verified, p50 / p99 s ({clocks} clock)", latency("publish_to_verified"))
    row(f"correction to fleet, p50 / p99 s ({clocks} clock)", latency("correction_to_fleet"))
    row("… beyond the end of the corrected episode", latency("correction_to_fleet_beyond_episode"))
    row(
        "… not yet on every robot at the end", lambda report: str(report["latency_s"]["correction_to_fleet"]["pending"])
    )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
