"""`fleetloop learner`: the policy goes on learning, as a process in the foreground."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads

if TYPE_CHECKING:
    from fleetloop.cli.config import FleetConfig

EXAMPLES = flags.examples(
    "fleetloop learner --base base --demonstrations demonstrations",
    "fleetloop learner --set learner.steps_per_s=20 --set algorithm.name=bc",
    "fleetloop learner --from-release 120          what was learnt since then was no good",
)


def learner(
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    directory: Annotated[
        Path | None, typer.Option(help="Its checkpoints, metrics and cached episodes.", show_default=False)
    ] = None,
    base: flags.BaseDirectory = None,
    demonstrations: Annotated[
        Path | None, typer.Option(help="Sealed episodes to learn from offline.", show_default=False)
    ] = None,
    from_release: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Go back: on from the newest checkpoint that is no later than this release. Later ones are put aside.",
            show_default=False,
        ),
    ] = None,
    begin_anew: Annotated[
        bool,
        typer.Option(
            "--begin-anew", help="Publish from the base, although the hub has releases of a learner that is lost."
        ),
    ] = False,
    clock_file: flags.ClockFile = None,
) -> None:
    """Learn from what the fleet sends, publish what was learnt. Started again, it goes on where it was."""
    from fleetloop.cli.config import load_config

    flags.log_to_terminal()
    given = {
        "hub_url": hub,
        "directories.learner": directory,
        "directories.base": base,
        "directories.demonstrations": demonstrations,
        "clock.file": clock_file,
    }
    chosen = load_config(config, sets or (), given)
    if chosen.learner.threads == 1:
        limit_threads()
    from fleetloop.cli import wiring
    from fleetloop.cli.base import beyond_limits, check_base
    from fleetloop.core.algorithm import Algorithm
    from fleetloop.core.disk import RealDisk
    from fleetloop.learner.assemble import Surroundings, open_demonstrations
    from fleetloop.learner.base import Base, load_base
    from fleetloop.learner.run import run

    places = chosen.directories

    def start() -> tuple[Base, Algorithm]:
        base = load_base(places.base)
        check_base(chosen, base)
        return base, wiring.build_algorithm(chosen.algorithm)

    demonstrations_held = open_demonstrations(places.demonstrations)
    check_tasks(chosen, {episode.meta.task for episode in demonstrations_held})
    for line in beyond_limits(chosen, demonstrations_held):
        typer.echo(line, err=True)
    around = Surroundings(wiring.open_hub(chosen), wiring.clock_from(chosen.clock.file), RealDisk(), places.learner)
    run(
        chosen.run,
        chosen.learner,
        start,
        around,
        demonstrations=demonstrations_held,
        from_release=from_release,
        begins_anew=begin_anew,
        say=lambda line: typer.echo(line, err=True),
    )


def check_tasks(config: "FleetConfig", demonstrated: set[str]) -> None:
    """Raise ConfigInvalid where an option is about a task that is neither worked at nor demonstrated."""
    from fleetloop.algorithms.recap_options import RecapOptions
    from fleetloop.cli.config import chosen_options
    from fleetloop.core.errors import ConfigInvalid

    known, sampler = demonstrated.union(config.all_tasks), config.learner.sampler
    named = {
        "learner.sampler.least_offline": set(sampler.least_offline),
        "learner.sampler.task_weight": set(sampler.task_weight),
    }
    options = chosen_options("algorithms", config.algorithm)
    if isinstance(options, RecapOptions):
        named["algorithm.options.tasks"] = set(options.tasks)
    for option, tasks in named.items():
        if unknown := tasks - known:
            raise ConfigInvalid(
                option,
                f"names {min(unknown)!r}, which is neither worked at nor demonstrated",
                f"known: {', '.join(sorted(known))}",
            )
