"""`fleetloop eval`: the success rate of a policy."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads
from fleetloop.core.disk import check_writable
from fleetloop.core.errors import ConfigInvalid, FleetLoopError, ReleaseInvalid

if TYPE_CHECKING:
    from fleetloop.lab.candidate import Candidate
    from fleetloop.lab.evaluation import Score, Tried

EXAMPLES = flags.examples(
    "fleetloop eval --base base --tasks restock/shelf --episodes 50 --sites 1,2,3,4",
    "fleetloop eval --release 12 --shuffle-instructions --report shuffled.json",
    "fleetloop eval --release 12 --condition positive --guidance 2.0",
    "fleetloop eval --release 12 --episodes 50 --at-least 0.8          a gate: exit status 1 below it",
    "fleetloop eval --expert",
    "fleetloop eval --retention --base base --release 12 --episodes 200 --report retention.json",
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
    expert: Annotated[bool, typer.Option("--expert", help="Measure the robot's own expert (privileged).")] = False,
    retention: Annotated[
        bool,
        typer.Option(
            "--retention", help="Compare it with the base, on the same resets of tasks that no robot works at."
        ),
    ] = False,
    tasks: flags.Tasks = None,
    sites: Annotated[
        str | None, typer.Option(help="Comma-separated seeds; by default the fleet's.", show_default=False)
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Of each task, over all sites.")] = 30,
    shuffle_instructions: Annotated[
        bool, typer.Option("--shuffle-instructions", help="Tell it what another scene of the task would have said.")
    ] = False,
    disturb: Annotated[
        bool | None,
        typer.Option("--disturb/--calm", help="Simulated robots: nudge items and knock grippers.", show_default=False),
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(help="What it acts on, e.g. positive; by default what robots act on.", show_default=False),
    ] = None,
    guidance: Annotated[float, typer.Option(min=0, max=100, help="How much of the condition: beta of RECAP.")] = 1.0,
    at_least: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Exit with status 1 if success, as the mean of the tasks, is lower, with 75 if it can't be told: for "
            "hub.promote.command.",
            show_default=False,
        ),
    ] = None,
    seed: flags.Seed = 0,
    processes: flags.Processes = None,
    report: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.", show_default=False)] = None,
) -> None:
    """Measure a policy's success on fresh episodes, with 95 % intervals."""
    limit_threads()
    from fleetloop.cli import wiring
    from fleetloop.cli.config import load_config

    if expert and (retention or condition or guidance != 1.0 or any((release, base, checkpoint))):
        raise ConfigInvalid("--expert", "is no policy: nothing else can be named with it", "leave one of them away")
    if retention and at_least is not None:
        raise ConfigInvalid("--at-least", "is about one policy, --retention about two", "leave one of them away")
    if retention and release is None and checkpoint is None:
        raise ConfigInvalid("--retention", "compares the base with nothing", "name --release or --checkpoint")
    with _undecided(at_least is not None):
        if report:
            check_writable(report)
        named = flags.split(tasks, "--tasks")
        given = {"hub_url": hub, "tasks": None if retention else named}
        chosen = load_config(config, sets or (), given)
        from fleetloop.cli.measured import acting_on, named_candidate
        from fleetloop.cli.progress import counting
        from fleetloop.lab import evaluation

        robot = wiring.disturbed(wiring.robot_kind(chosen), disturb)
        default = tuple(dict.fromkeys(robot.site for robot in chosen.robots)) or (0,)
        places = default if sites is None else flags.numbers(sites, "--sites")

        def attempt(candidate: "Candidate | None", tasks: Sequence[str]) -> "list[Tried]":
            todo = wiring.tasks_named(chosen, tasks)
            with counting("evaluating", episodes * len(todo)) as progress:
                tried = evaluation.evaluate(
                    candidate,
                    todo,
                    places,
                    episodes,
                    robot=robot,
                    judge=wiring.judge_kind(chosen),
                    seed=seed,
                    processes=processes,
                    shuffle_instructions=shuffle_instructions,
                    options=chosen.actor.model_copy(update={"condition": None}),  # the candidate's stands
                    progress=progress,
                )
            if shuffle_instructions:
                _tell_of_own_words(evaluation.never_worded_otherwise(tried))
            return tried

        circumstances: dict[str, Any] = {
            "sites": places,
            "seed": seed,
            "shuffled": shuffle_instructions,
            "robot": {"name": robot.name, "options": robot.options and robot.options.model_dump(mode="json")},
        }
        if retention:
            from fleetloop.cli.retention import compare

            later = named_candidate(chosen, release=release, base=None if release else base, checkpoint=checkpoint)
            later = acting_on(later, chosen, condition, guidance)
            circumstances |= {"condition": later.condition, "guidance": guidance}
            facts = compare(chosen, attempt, named, later, base or chosen.directories.base)
        else:
            candidate = None if expert else named_candidate(chosen, release=release, base=base, checkpoint=checkpoint)
            if candidate is not None:
                candidate = acting_on(candidate, chosen, condition, guidance)
                circumstances |= {"condition": candidate.condition, "guidance": guidance}
            by_task = evaluation.scores(attempt(candidate, chosen.tasks))
            label = candidate.label if candidate else "the robot's own expert (privileged)"
            _print(label + (", instructions shuffled" if shuffle_instructions else ""), by_task)
            facts = {"policy": label, **evaluation.report(by_task)}
    if report:
        flags.write_text(report, json.dumps({**circumstances, **facts}, indent=1) + "\n")
    if at_least is not None and (success := _average(by_task)) < at_least:
        typer.secho(f"success is {success:.3f}, less than {at_least:g}", fg="red", err=True)
        raise typer.Exit(1)


@contextmanager
def _undecided(gate: bool) -> Iterator[None]:
    """A gate that can't be asked is no refusal, and the hub asks again. A release that can't act is one."""
    try:
        yield
    except FleetLoopError as error:
        if not gate or isinstance(error, ReleaseInvalid):
            raise
        from fleetloop.hub.releases.trial_run import UNDECIDED

        typer.secho(f"fleetloop: {error}", fg="red", err=True)
        raise typer.Exit(UNDECIDED) from error


def _tell_of_own_words(tasks: Sequence[str]) -> None:
    for task in tasks:
        problem = "is told in the same words in every scene: shuffled instructions show nothing there"
        typer.secho(f"fleetloop: {task} {problem}", fg="yellow", err=True)


def _print(label: str, by_task: "dict[str, Score]") -> None:
    from fleetloop.cli import tables

    rows = tables.table("task", "success", "95 % interval", "episodes", "steps (mean)", title=label)
    for task, score in by_task.items():
        rows.add_row(
            task,
            f"{score.rate:.2f}",
            f"{score.low:.2f}–{score.high:.2f}",
            str(score.episodes),
            tables.rounded(score.ticks_mean),
        )
    if len(by_task) > 1:
        rows.add_row("average", f"{_average(by_task):.2f}")
    tables.show(rows)


def _average(by_task: "dict[str, Score]") -> float:
    """Success, as the mean of the tasks."""
    return sum(score.rate for score in by_task.values()) / len(by_task)
