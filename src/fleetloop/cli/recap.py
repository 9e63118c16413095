"""`fleetloop recap`: RECAP's value function, fitted offline and looked at."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads

if TYPE_CHECKING:
    from fleetloop.algorithms.recap_judgement import Judgement
    from fleetloop.cli.config import FleetConfig
    from fleetloop.core.episode import Episode
    from fleetloop.core.spec import PolicySpec

app = typer.Typer(no_args_is_help=True, help="Fit RECAP's value function offline; see what it says of an episode.")
Values = Annotated[
    Path | None,
    typer.Option(help="The value function; by default the newest of the learner's checkpoints.", show_default=False),
]


@app.command(
    epilog=flags.examples(
        "fleetloop recap fit --episodes demonstrations --episodes hub/episodes --base base --out values.safetensors",
        "fleetloop recap fit --episodes demonstrations --base base --set algorithm.options.horizon_s=2",
    )
)
def fit(
    config: flags.Config = None,
    sets: flags.Sets = None,
    episodes: Annotated[
        list[Path] | None,
        typer.Option(help="Sealed episodes; repeatable. By default the demonstrations.", show_default=False),
    ] = None,
    base: flags.BaseDirectory = None,
    out: Annotated[Path, typer.Option(help="Where the value function is written.")] = Path("values.safetensors"),
) -> None:
    """Fit value function and thresholds to demonstrations and recorded rollouts: what `value: frozen` labels by."""
    limit_threads()
    from fleetloop.cli.config import chosen_options, load_config

    # What is frozen later is made now: the options must not ask for the file.
    given = {"algorithm.name": "recap", "algorithm.options.value": "live", "directories.base": base}
    chosen = load_config(config, sets or (), given)
    from fleetloop.algorithms.recap_file import write_judgement
    from fleetloop.algorithms.recap_fit import fit_value
    from fleetloop.algorithms.recap_judgement import blank
    from fleetloop.algorithms.recap_options import RecapOptions
    from fleetloop.cli.learner import check_tasks
    from fleetloop.cli.progress import counting
    from fleetloop.core.disk import RealDisk, check_writable
    from fleetloop.core.errors import ConfigInvalid
    from fleetloop.learner.base import load_base

    check_writable(out)
    policy = load_base(chosen.directories.base).policy
    held: dict[str, Episode] = {}
    for directory in episodes or [chosen.directories.demonstrations]:
        held |= _lessons(directory, policy.spec)
    check_tasks(chosen, {episode.meta.task for episode in held.values()})
    options = chosen_options("algorithms", chosen.algorithm)
    assert isinstance(options, RecapOptions)
    start = blank(policy, options)
    with counting("fitting", options.value_steps) as progress:
        found = fit_value(start, held, options, progress)
    if not found.steps:
        problem = f"{len(held)} episodes, and nothing to fit a value function to"
        remedy = "record attempts that succeed or fail; what was aborted tells of no end"
        raise ConfigInvalid("--episodes", problem, remedy)
    write_judgement(RealDisk(), out, found.judgement, options)
    _print(found.judgement, list(held.values()))
    typer.echo(f"{out}: {len(held)} episodes, {found.steps} steps, cross-entropy {found.loss:.2f} nats")


@app.command(
    epilog=flags.examples(
        "fleetloop recap plot 01JD… --values values.safetensors --base base --out episode.png",
        "fleetloop recap plot learner/episodes/01JD….arrow",
    )
)
def plot(
    episode: Annotated[str, typer.Argument(help="An episode's id at the hub, or a sealed file.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    base: flags.BaseDirectory = None,
    values: Values = None,
    out: Annotated[Path | None, typer.Option(help="The picture; by default ID.png.", show_default=False)] = None,
) -> None:
    """Draw value, advantage and indicator along an episode, beside its frames."""
    limit_threads()
    from fleetloop.cli.config import load_config

    chosen = load_config(config, sets or (), {"hub_url": hub, "directories.base": base})
    from fleetloop.cli.recap_plot import draw
    from fleetloop.cli.wiring import named_episode

    recorded = named_episode(chosen, episode)
    path = out or Path(f"{recorded.meta.id}.png")
    draw(path, recorded, _judgement(chosen, values))
    typer.echo(str(path))


def _lessons(directory: Path, spec: "PolicySpec") -> "dict[str, Episode]":
    """By id, the episodes in a directory that something may be learnt from: no evaluations.

    Raises:
        ConfigInvalid: if there is none.
        SpecMismatch: naming an episode of a robot that lacks what the policy observes.
    """
    from fleetloop.core.errors import ConfigInvalid, SpecMismatch
    from fleetloop.core.spec import check_fit
    from fleetloop.learner.assemble import open_demonstrations

    found = {item.meta.id: item for item in open_demonstrations(directory)}
    if not found:
        problem = "holds no sealed episode to learn from" if directory.is_dir() else "is no directory"
        remedy = "record some with `fleetloop demos record`"
        raise ConfigInvalid(str(directory), problem, remedy)
    for id, episode in found.items():
        try:
            check_fit(episode.meta.spec, spec)
        except SpecMismatch as error:
            raise SpecMismatch(f"episode {id}, {error.field}", error.problem, "fit without this episode") from None
    return found


def _judgement(config: "FleetConfig", values: Path | None) -> "Judgement":
    """Raises ConfigInvalid if there is no value function yet, or it is another policy's."""
    from fleetloop.algorithms.recap_file import read_state
    from fleetloop.algorithms.recap_judgement import kept
    from fleetloop.core.errors import ConfigInvalid
    from fleetloop.learner.base import load_base
    from fleetloop.learner.checkpoint import latest

    policy = load_base(config.directories.base).policy
    if values is not None:
        return kept(policy, read_state(values), str(values))
    checkpoint, where = latest(config.directories.learner / "checkpoints"), str(config.directories.learner)
    state = {**checkpoint.algorithm, **checkpoint.under("algorithm.")} if checkpoint else {}
    if not state.get("version"):
        raise ConfigInvalid(where, "holds no checkpoint with a live value function", "name a file with --values")
    return kept(policy, state, where)


def _print(judgement: "Judgement", episodes: "list[Episode]") -> None:
    from fleetloop.cli import tables

    rows = tables.table("task", "episodes", "successes", "T_max", "C_fail", "N", "threshold", title="in ticks")
    for task, scale in judgement.scales.items():
        held = [item for item in episodes if item.meta.task == task]
        successes = sum(item.meta.outcome == "success" for item in held)
        told = f"{scale.threshold:+.4f}" if not scale.missing else f"none: no {scale.missing}"
        numbers = (len(held), successes, scale.t_max, scale.c_fail, scale.horizon)
        rows.add_row(task, *map(str, numbers), told)
    tables.show(rows)
