"""What a demo came to, in plain words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Report = Mapping[str, Any]


def summary(report: Report, directory: Path) -> RenderableType:
    """The whole of it, from the report."""
    return Group(
        "",
        _work(report),
        "",
        _tasks(report),
        "",
        *_progress(report["average"], report["learner_steps"]),
        _way_back(report["latency_s"]),
        _care(report),
        "",
        f"Everything is in {directory}: curve.png (look at it first), report.json, fleet.yaml, logs/.",
        "Next: `fleetloop demo --minutes 30` learns more, `--tasks all` takes on all seven tasks, `--real-time` runs "
        f"at a robot's own pace. `fleetloop hub -c {directory / 'fleet.yaml'}` opens this fleet's hub again: look into "
        "it with `fleetloop episodes ls`, `releases ls` and `replay`, and the same -c.",
    )


def _work(report: Report) -> str:
    options, scale = report["options"], report["time_scale"]
    pace = "in real time" if options["real_time"] else f"{scale['mean']:.1f} times as fast as real time"
    return (
        f"{_count(options['robots'], 'robot')} worked for {options['minutes']:g} minutes, {pace}, and recorded "
        f"{_count(report['episodes'], 'episode')}. The scripted operator (privileged) took over "
        f"{_times(report['interventions'])} and drove {report['human_share']:.0%} of the time; "
        f"{report['autonomous_share']:.0%} of the episodes needed nobody. Meanwhile the learner took "
        f"{_count(report['learner_steps'], 'step')} and published {_count(report['releases'], 'release')}."
    )


def _tasks(report: Report) -> RenderableType:
    table = Table("task", "before", "after", "control", "expert", title="success on its own, on unseen seeds")
    for task, measured in report["tasks"].items():
        table.add_row(task, *map(_rate, (measured[name] for name in ("before", "after", "control_after", "expert"))))
    average = report["average"]
    if len(report["tasks"]) > 1:
        values = (average[name] for name in ("before", "after", "control_after", "expert"))
        table.add_row("average", *(f"{value:.2f}" for value in values))
    return table


def _rate(measured: Mapping[str, Any]) -> str:
    return f"{measured['rate']:.2f} ({measured['successes']} of {measured['episodes']})"


def _progress(average: Mapping[str, Any], steps: int) -> list[str]:
    closed = average["gap_closed"]
    share = f", {closed:.0%} of the way from the base to the expert" if closed is not None else ""
    return [
        f"Success went from {average['before']:.2f} to {average['after']:.2f}{share}. The control, which took the "
        f"same {steps:,} steps on the demonstrations alone, got to {average['control_after']:.2f}.",
    ]


def _way_back(latency: Mapping[str, Any]) -> str:
    whole, beyond = latency["correction_to_fleet"], latency["correction_to_fleet_beyond_episode"]
    pending = whole["pending"]
    under_way = f" {_count(pending, 'correction')} had not come round to all when the time was up." if pending else ""
    if not whole["n"]:
        return f"No correction reached every robot in this time.{under_way}"
    return (
        f"What a correction taught ran on every robot {whole['p50']:.1f} s after the takeover (median of {whole['n']}, "
        f"{latency['clock']} clock; {beyond['p50']:.1f} s after the end of its episode; 99 % within "
        f"{whole['p99']:.1f} s).{under_way}"
    )


def _care(report: Report) -> str | Text:
    missed = report["ticks_missed"] / max(report["frames"] + report["ticks_missed"], 1)
    ticks = f"{missed:.2%} of the control ticks were missed."
    if report["lost"] or report["duplicated"]:
        wrong = f"{report['lost']} episodes were lost and {report['duplicated']} came twice: see the logs."
        return Text.assemble((wrong, "red"), " ", ticks)
    return f"No episode was lost, none came twice; {ticks}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"
