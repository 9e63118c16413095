"""`fleetloop pretrain`: from demonstrations to a base; `fleetloop pretrain encoder`: eyes for one that sees."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads
from fleetloop.core.errors import ConfigInvalid

EXAMPLES = flags.examples(
    "fleetloop pretrain --demonstrations demonstrations --out base --steps 3000",
    "fleetloop pretrain --set policy.options.width=128",
    "fleetloop pretrain --weights model.safetensors --steps 0      a policy that is pretrained already",
    "fleetloop pretrain --encoder encoder --set policy.options.observe=images --set policy.options.image_px=96",
)
ENCODER_EXAMPLES = flags.examples(
    "fleetloop pretrain encoder --out encoder",
    "fleetloop pretrain encoder --tasks box/walls --set encoder.frames=1000 --set encoder.steps=500",
)

Replace: TypeAlias = Annotated[bool, typer.Option("--replace", help="Write over the one that is there.")]

app = typer.Typer(invoke_without_command=True)


@app.callback(epilog=EXAMPLES)
def pretrain(
    ctx: typer.Context,
    config: flags.Config = None,
    sets: flags.Sets = None,
    demonstrations: Annotated[
        Path | None, typer.Option(help="Sealed episodes, see `fleetloop demos record`.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the base is written.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Optimizer steps.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every draw.", show_default=False)] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="A safetensors file with weights for the policy to begin with.", show_default=False),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="A frozen image encoder for a policy that sees.", show_default=False)
    ] = None,
    replace: Replace = False,
) -> None:
    """Clone demonstrations into a base: the policy that a run starts from.

    With --steps 0 only its statistics are computed: for weights that were trained elsewhere.
    """
    if flags.goes_to_subcommand(ctx):
        return
    from fleetloop.cli.config import load_config

    given = {
        "directories.demonstrations": demonstrations,
        "directories.base": out,
        "directories.encoder": encoder,
        "pretrain.steps": steps,
        "pretrain.seed": seed,
    }
    chosen = load_config(config, sets or (), given)
    _check_free(chosen.directories.base, "base.json", "base", replace=replace)
    if chosen.pretrain.threads == 1:
        limit_threads()
    from fleetloop.cli.base import beyond_limits, make_base, never_seen
    from fleetloop.learner.assemble import open_demonstrations

    episodes = open_demonstrations(chosen.directories.demonstrations)
    for line in (*beyond_limits(chosen, episodes), *never_seen(chosen, episodes)):
        typer.echo(line, err=True)
    total = chosen.pretrain.steps
    facts = make_base(
        chosen,
        episodes,
        progress=lambda step, loss: typer.echo(f"step {step} of {total}: loss {loss:.4f}", err=True),
        weights=weights,
    )
    typer.echo(
        f"{chosen.directories.base}: {facts['steps']} steps on {facts['episodes']} episodes, "
        f"held-out loss {facts['loss_held_out']}"
    )
    unmeasured = sorted(set(facts["tasks"]) - set(facts["loss_held_out"])) if chosen.pretrain.held_out else []
    if unmeasured:
        typer.echo(f"no demonstration of {', '.join(unmeasured)} is held out: raise pretrain.held_out", err=True)


@app.command("encoder", epilog=ENCODER_EXAMPLES)
def pretrain_encoder(
    config: flags.Config = None,
    sets: flags.Sets = None,
    out: Annotated[
        Path | None, typer.Option(help="Where it is written; by default `encoder`.", show_default=False)
    ] = None,
    tasks: flags.Tasks = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every draw.", show_default=False)] = None,
    processes: flags.Processes = None,
    replace: Replace = False,
) -> None:
    """Make a small frozen image encoder from simulated frames: half an hour of a core for three tasks. Needs GL.

    Its labels are the simulator's (privileged): what is in the scene, each thing's pose, where it is in each picture.
    The frames show the scripted expert at work, and wandering grippers, at the nominal and at random sites.
    """
    limit_threads()
    from fleetloop.cli.config import load_config

    given = {"directories.encoder": out, "tasks": flags.split(tasks, "--tasks"), "encoder.seed": seed}
    chosen = load_config(config, sets or (), given)
    from fleetloop.cli.encoder import make_encoder, views
    from fleetloop.cli.progress import counting
    from fleetloop.core.disk import RealDisk, check_writable

    directory, options = chosen.directories.encoder or Path("encoder"), chosen.encoder
    _check_free(directory, "encoder.json", "encoder", replace=replace)
    RealDisk().make(directory)  # now, rather than when there is something to write
    check_writable(directory / "encoder.json")
    with counting("rendering", sum(view.frames for view in views(chosen.tasks, options))) as looked:
        facts = make_encoder(
            directory,
            chosen.tasks,
            options,
            processes=processes,
            looked=looked,
            trained=lambda step, loss: typer.echo(f"step {step} of {options.steps}: loss {loss:.3f}", err=True),
        )
    _show(directory, facts)


def _check_free(directory: Path, description: str, what: str, *, replace: bool) -> None:
    """Hours may lie in one, and a learner may depend on it."""
    if not replace and (directory / description).exists():
        raise ConfigInvalid("--out", f"{directory} holds a {what} already", "name another, or say --replace")


def _show(directory: Path, facts: Mapping[str, Any]) -> None:
    from fleetloop.cli import tables

    title = f"{directory}, on sites held out"
    rows = tables.table("task", "position, median", "90 % within", "presence right", "frames", title=title)
    for task, held in facts["held_out"].items():
        metres = [f"{100 * held[name]:.1f} cm" for name in ("position_m_median", "position_m_p90")]
        rows.add_row(task, *metres, f"{held['presence_right']:.3f}", str(held["frames"]))
    tables.show(rows)
