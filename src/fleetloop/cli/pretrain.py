"""`fleetloop pretrain`: from demonstrations to a base."""

from pathlib import Path
from typing import Annotated

import typer

from fleetloop.cli import flags

EXAMPLES = flags.examples(
    "fleetloop pretrain --demonstrations demonstrations --out base --steps 3000",
    "fleetloop pretrain --set policy.options.width=128",
)


def pretrain(
    config: flags.Config = None,
    sets: flags.Sets = None,
    demonstrations: Annotated[
        Path | None, typer.Option(help="Sealed episodes, see `fleetloop demos record`.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the base is written.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every draw.", show_default=False)] = None,
) -> None:
    """Clone demonstrations into a base: the policy that a run starts from."""
    from fleetloop.cli import wiring
    from fleetloop.cli.config import load_config

    given = {
        "directories.demonstrations": demonstrations,
        "directories.base": out,
        "pretrain.steps": steps,
        "pretrain.seed": seed,
    }
    chosen = load_config(config, sets or (), given)
    if chosen.pretrain.threads == 1:
        wiring.one_thread()
    from fleetloop.cli.base import make_base
    from fleetloop.learner.assemble import open_demonstrations

    episodes = open_demonstrations(chosen.directories.demonstrations)
    total = chosen.pretrain.steps
    facts = make_base(
        chosen, episodes, progress=lambda step, loss: typer.echo(f"step {step} of {total}: loss {loss:.4f}", err=True)
    )
    typer.echo(
        f"{chosen.directories.base}: {facts['steps']} steps on {facts['episodes']} episodes, "
        f"held-out loss {facts['loss_held_out']}"
    )
