"""Which policy a command means: one of `--release`, `--base`, `--checkpoint` must be named."""

from dataclasses import replace
from pathlib import Path

from fleetloop.cli.config import FleetConfig
from fleetloop.cli.wiring import open_hub
from fleetloop.core.errors import ConfigInvalid
from fleetloop.lab.candidate import Candidate, from_base, from_checkpoint, from_release


def named_candidate(
    config: FleetConfig, *, release: int | None = None, base: Path | None = None, checkpoint: Path | None = None
) -> Candidate:
    """A checkpoint needs the base that its run started from: `base`, or else the configuration's.

    Raises:
        ConfigInvalid: if none is named, or more than one.
        HubRefused, HubUnavailable, ReleaseInvalid, BaseInvalid, CheckpointInvalid.
    """
    if checkpoint is not None and release is not None:
        raise ConfigInvalid("--checkpoint", "is another policy than --release", "name one of them")
    if checkpoint is not None:
        return from_checkpoint(checkpoint, base or config.directories.base)
    if (release is None) == (base is None):
        raise ConfigInvalid(
            "policy", "it takes exactly one to be measured", "name it with --release, --base or --checkpoint"
        )
    if release is not None:
        return from_release(open_hub(config), release)
    assert base is not None
    return from_base(base)


def acting_on(candidate: Candidate, config: FleetConfig, condition: str | None, guidance: float) -> Candidate:
    """Conditioned as is said, else as the fleet's configuration says that robots are, else as it was made to be.

    Raises:
        ConfigInvalid: for a condition that it does not know, and for guidance where there is none to guide by.
    """
    acts_on = candidate.acts_on(config.actor.condition if condition is None else condition) or ""
    if guidance != 1.0 and not acts_on:
        raise ConfigInvalid("--guidance", f"{candidate.label} acts on no condition", "name one with --condition")
    return replace(candidate, condition=acts_on, guidance=guidance)
