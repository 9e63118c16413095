"""Making a base: what `fleetloop pretrain` and the demo do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

from fleetloop.cli.config import AlgorithmChoice, FleetConfig
from fleetloop.cli.wiring import build_algorithm, build_policy
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid
from fleetloop.learner.base import Base, fill, write_base
from fleetloop.learner.pretrain import pretrain

REMEDY = "make another base with `fleetloop pretrain`, or set it back"


def make_base(
    config: FleetConfig,
    episodes: Sequence[Episode],
    progress: Callable[[int, float], None] = lambda step, loss: None,
    *,
    weights: Path | None = None,
) -> Mapping[str, Any]:
    """Clone the demonstrations into a policy, write it to `directories.base`, and return the facts of it.

    The policy is a fresh one, or begins with what a safetensors file holds: `weights`.

    Raises:
        ConfigInvalid: if there is no demonstration.
        BaseInvalid: if the weights are not this policy's.
        DiskTrouble: if the directory can't be written.
    """
    if not episodes:
        where = config.directories.demonstrations
        raise ConfigInvalid(str(where), "holds no sealed episode", "record some with `fleetloop demos record`")
    robot = episodes[0].meta.spec
    policy = build_policy(config.policy, robot, config.pretrain.seed, config.directories.encoder)
    begun = {} if weights is None else {"weights": str(weights), "weights_hash": fill(policy, weights)}
    cloning, base, disk = build_algorithm(AlgorithmChoice(name="bc")), config.directories.base, RealDisk()
    scratch = base / "scratch"
    disk.make(scratch)
    try:
        made = pretrain(policy, cloning, episodes, config.pretrain, scratch=scratch, progress=progress)
    finally:
        rmtree(scratch)
    facts = {**made.facts, **begun}
    write_base(disk, base, Base(made.policy, config.policy.name, robot, facts))
    return facts


def check_base(config: FleetConfig, base: Base) -> None:
    """Raise ConfigInvalid where the configuration says something else of the policy than what the base is."""
    where = config.directories.base
    if config.policy.name != base.name:
        raise ConfigInvalid("policy.name", f"is {config.policy.name!r}, but {where} holds {base.name!r}", REMEDY)
    for name, value in config.policy.options.items():
        made_with = base.policy.config.get(name)
        if made_with != value:
            raise ConfigInvalid(
                f"policy.options.{name}", f"is {value!r}, but {where} was made with {made_with!r}", REMEDY
            )
