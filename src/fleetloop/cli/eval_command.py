"""`fleetloop eval`: the success rate of a policy."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags

if TYPE_CHECKING:
    from fleetloop.cli.evaluation import Score

EXAMPLES = flags.examples(
    "fleetloop eval --base base --tasks restock/shelf --episodes 50 --sites 1,2,3,4",
    "fleetloop eval --release 12 --shuffle-instructions --report shuffled.json",
    "fleetloop eval --expert",
)


def evaluate(
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    release: flags.ReleaseVersion = None,
    base: flags.BaseDirectory = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A learner's checkpoint (…/checkpoints/step-…), with --base.", show_default=False),
    ] = None,
    expert: Annotated[bool, typer.Option("--expert", help="Measure the scripted expert (privileged).")] = False,
    tasks: flags.Tasks = None,
    sites: Annotated[
        str | None, typer.Option(help="Comma-separated seeds; by default the fleet's.", show_default=False)
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Of each task, over all sites.")] = 30,
    shuffle_instructions: Annotated[
        bool, typer.Option("--shuffle-instructions", help="Tell it what another scene of the task would have said.")
    ] = False,
    disturb: Annotated[
        bool | None, typer.Option("--disturb/--calm", help="Nudge items and knock grippers.", show_default=False)
    ] = None,
    seed: flags.Seed = 0,
    processes: flags.Processes = None,
    report: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.", show_default=False)] = None,
) -> None:
    """Measure a policy's success on fresh episodes, with 95 % intervals."""
    from fleetloop.cli import wiring
    from fleetloop.cli.config import load_config

    wiring.one_thread()
    given = {"hub_url": hub, "tasks": flags.split(tasks), "simulation.disturbed": disturb}
    chosen = load_config(config, sets or (), given)
    from fleetloop.cli import evaluation
    from fleetloop.cli.measured import named_candidate
    from fleetloop.cli.progress import counting

    wiring.tasks_named(chosen.tasks)
    default = tuple(dict.fromkeys(robot.site for robot in chosen.robots)) or (0,)
    places = default if sites is None else flags.numbers(sites, "--sites")
    candidate = None if expert else named_candidate(chosen, release=release, base=base, checkpoint=checkpoint)
    with counting("evaluating", episodes * len(chosen.tasks)) as progress:
        results = evaluation.evaluate(
            candidate,
            chosen.tasks,
            places,
            episodes,
            seed=seed,
            disturbance=wiring.disturbance(chosen.simulation),
            processes=processes,
            shuffle_instructions=shuffle_instructions,
            progress=progress,
        )
    by_task = evaluation.scores(results)
    label = candidate.label if candidate else "scripted expert (privileged)"
    _print(label + (", instructions shuffled" if shuffle_instructions else ""), by_task)
    if report:
        facts = {
            "policy": label,
            "sites": places,
            "seed": seed,
            "shuffled": shuffle_instructions,
            "disturbed": chosen.simulation.disturbed,
            **evaluation.report(by_task),
        }
        flags.write_text(report, json.dumps(facts, indent=1) + "\n")


def _print(label: str, by_task: "dict[str, Score]") -> None:
    from fleetloop.cli import tables

    rows = tables.table("task", "success", "95 % interval", "episodes", "steps (mean)", title=label)
    for task, score in by_task.items():
        rows.add_row(
            task,
            f"{score.rate:.2f}",
            f"{score.low:.2f}–{score.high:.2f}",
            str(score.episodes),
            f"{score.ticks_mean:.0f}",
        )
    if len(by_task) > 1:
        average = sum(score.rate for score in by_task.values()) / len(by_task)
        rows.add_row("average", f"{average:.2f}")
    tables.show(rows)
