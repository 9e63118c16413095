"""`fleetloop replay`: a policy against a recorded episode, open loop."""

from typing import Annotated

import typer

from fleetloop.cli import flags
from fleetloop.cli.threads import limit_threads

EXAMPLES = flags.examples(
    "fleetloop replay 01JD… --release 12",
    "fleetloop replay demonstrations/01JD….arrow --base base",
)


def replay(
    episode: Annotated[str, typer.Argument(help="An episode's id at the hub, or a sealed file.")],
    config: flags.Config = None,
    sets: flags.Sets = None,
    hub: flags.HubUrl = None,
    release: flags.ReleaseVersion = None,
    base: flags.BaseDirectory = None,
) -> None:
    """Compare what a release would do at each frame of an episode with what was done there."""
    limit_threads()
    from fleetloop.cli import wiring
    from fleetloop.cli.config import load_config

    chosen = load_config(config, sets or (), {"hub_url": hub})
    from fleetloop.cli import tables
    from fleetloop.cli.measured import named_candidate
    from fleetloop.cli.replaying import open_loop_errors

    candidate = named_candidate(chosen, release=release, base=base)
    recorded = wiring.named_episode(chosen, episode)
    condition = candidate.acts_on(chosen.actor.condition)
    found = open_loop_errors(candidate.acting(), recorded, condition)
    meta = recorded.meta
    heads = [f"{name} ({found.frames[name]} frames)" for name in found.by_driver]
    rows = tables.table(
        "action", *heads, title=f"{candidate.label} on {meta.id}: {meta.task}, “{meta.instruction}”, {meta.outcome}"
    )
    for index, field in enumerate(found.fields):
        rows.add_row(field, *(f"{errors[index]:.4f}" for errors in found.by_driver.values()))
    tables.show(rows)
    acting = f"; the policy acts on {condition!r}" if condition else ""
    unit = meta.spec.action.unit or "the robot’s units"
    typer.echo(f"mean absolute error, in {unit}; by who drove the frame{acting}")
