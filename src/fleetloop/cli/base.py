"""Making a base: what `fleetloop pretrain` and the demo do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fleetloop.cli.config import AlgorithmChoice, FleetConfig
from fleetloop.cli.wiring import build_algorithm, build_policy, robot_kind
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk, disk_trouble
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid, PluginBroken
from fleetloop.core.plugins import plugin
from fleetloop.core.robot import simulated
from fleetloop.core.spec import FeatureSpec, PolicySpec, RobotSpec, check_fit
from fleetloop.core.task import Site
from fleetloop.learner.base import Base, fill, write_base
from fleetloop.learner.export import is_statistic
from fleetloop.learner.pretrain import Pretrained, pretrain

LIMIT_SLACK = 0.01  # of the range: sensors and motors overshoot a little
UNTRAINED: Mapping[str, Any] = {"steps": 0, "episodes": 0, "held_out": [], "tasks": {}, "loss_held_out": {}}
REMEDY = "make another base with `fleetloop pretrain`, or set it back"


def make_base(
    config: FleetConfig,
    episodes: Sequence[Episode],
    progress: Callable[[int, float], None] = lambda step, loss: None,
    *,
    weights: Path | None = None,
) -> Mapping[str, Any]:
    """Clone the demonstrations into a policy, write it to `directories.base`, and return the facts of it.

    The policy is a fresh one, or begins with what a safetensors file holds: `weights`. Where these bring their
    statistics and nothing is to be trained, it takes no demonstrations.

    Raises:
        ConfigInvalid: if there is no demonstration where one is needed, or the base would be written among them.
        SpecMismatch: if the demonstrations are not of the configured robot, as far as that can be told.
        BaseInvalid: if the weights are not this policy's.
        DiskTrouble: if the directory can't be written.
    """
    base, where, disk = config.directories.base, config.directories.demonstrations, RealDisk()
    if base.resolve() == where.resolve():
        raise ConfigInvalid("--out", f"{base} is where the demonstrations are", "give the base a directory of its own")
    robot = episodes[0].meta.spec if episodes else _undemonstrated(config, weights)
    policy = build_policy(config.policy, robot, config.pretrain.seed, config.directories.encoder)
    check_robot(config, policy.spec)
    begun = {}
    if weights is not None:
        hash = fill(policy, weights, is_statistic if episodes else _nothing)
        begun = {"weights": str(weights), "weights_hash": hash}
    disk.make(base)
    made = _cloned(config, policy, episodes, progress) if episodes else Pretrained(policy, UNTRAINED)
    facts = {**made.facts, **begun}
    write_base(disk, base, Base(made.policy, config.policy.name, robot, facts))
    return facts


def _cloned(
    config: FleetConfig, policy: Any, episodes: Sequence[Episode], progress: Callable[[int, float], None]
) -> Pretrained:
    cloning = build_algorithm(AlgorithmChoice(name="bc"))
    with _scratch(config.directories.base) as scratch:
        return pretrain(policy, cloning, episodes, config.pretrain, scratch=Path(scratch), progress=progress)


def _undemonstrated(config: FleetConfig, weights: Path | None) -> RobotSpec:
    """The robot of weights that are a base as they are. Raises ConfigInvalid where that can't be."""
    where = config.directories.demonstrations
    if weights is None or config.pretrain.steps:
        problem = "holds no sealed episode" if where.is_dir() else "is no directory"
        remedy = "record some with `fleetloop demos record`; with --weights and --steps 0 none is needed"
        raise ConfigInvalid(str(where), problem, remedy)
    robot = robot_spec(config) or _spec_of_simulated(config)
    if robot is None:
        problem = "does not say what it offers before it is made, and there is no demonstration that does"
        raise ConfigInvalid(f"robot {config.robot.name}", problem, "give its class a `spec`, or record a demonstration")
    return robot


def _spec_of_simulated(config: FleetConfig) -> RobotSpec | None:
    """None for a real robot: it is not made for this."""
    kind = robot_kind(config)
    if not simulated(plugin("robots", kind.name)):
        return None
    robot = kind.build(Virtual(), Site.simulated(0))
    robot.close()
    return robot.spec


def _nothing(name: str) -> bool:
    """There is nothing to fit statistics to: the weights must bring them."""
    return False


def _scratch(base: Path) -> "TemporaryDirectory[str]":
    """On the base's disk, with more room than memory has; whatever else lies there stays. Raises DiskTrouble."""
    try:
        return TemporaryDirectory(prefix=".scratch-", dir=base)
    except OSError as error:
        raise disk_trouble(base, error) from error


def robot_spec(config: FleetConfig) -> RobotSpec | None:
    """What the configured robot offers, where that can be told without making one: its class has a `spec`."""
    try:
        spec = getattr(plugin("robots", config.robot.name), "spec", None)
    except PluginBroken:  # a learner's machine need not have what drives the robot
        return None
    return spec if isinstance(spec, RobotSpec) else None


def check_robot(config: FleetConfig, policy: PolicySpec) -> None:
    """Raise SpecMismatch, before anything is trained, if the configured robot would be refused with this policy."""
    robot = robot_spec(config)
    if robot is not None:
        check_fit(robot, policy)


def beyond_limits(config: FleetConfig, episodes: Sequence[Episode]) -> list[str]:
    """A line for each feature of which the demonstrations hold values that the robot's limits do not allow."""
    if not episodes:
        return []
    robot = robot_spec(config) or episodes[0].meta.spec
    known = {item.name for item in episodes[0].meta.spec.state}
    columns = {f"state.{item.name}": item for item in robot.state if item.name in known} | {"action": robot.action}
    return [line for name, feature in columns.items() if (line := _beyond(name, feature, episodes))]


def never_seen(config: FleetConfig, episodes: Sequence[Episode]) -> list[str]:
    """A line for each demonstrated task whose things the chosen image encoder was not shown. Raises EncoderInvalid."""
    directory = config.directories.encoder
    if directory is None:
        return []
    from fleetloop.policies.sight_file import encoder_tasks

    unseen = sorted({episode.meta.task for episode in episodes} - encoder_tasks(directory))
    return [f"{directory} was never shown {task}: the policy may be blind there" for task in unseen]


def _beyond(column: str, feature: FeatureSpec, episodes: Sequence[Episode]) -> str:
    low, high = feature.low, feature.high
    values = [episode.column(column) for episode in episodes if len(episode)]
    if (low is None and high is None) or not values:
        return ""
    least, most = min(float(np.min(item)) for item in values), max(float(np.max(item)) for item in values)
    slack = LIMIT_SLACK * (high - low) if low is not None and high is not None else 0.0
    if (low is None or least >= low - slack) and (high is None or most <= high + slack):
        return ""
    said = f"{feature.name} goes from {least:.4g} to {most:.4g} {feature.unit}".rstrip()
    limits = f"{'-∞' if low is None else low} to {'∞' if high is None else high}"
    return f"demonstrations: {said}, the robot's limits are {limits}: another unit, or another zero?"


def check_base(config: FleetConfig, base: Base) -> None:
    """Raise ConfigInvalid where the configuration says something else of the policy than what the base is.

    Raises SpecMismatch if the configured robot would be refused with it, as far as that can be told.
    """
    check_robot(config, base.policy.spec)
    where = config.directories.base
    if config.policy.name != base.name:
        raise ConfigInvalid("policy.name", f"is {config.policy.name!r}, but {where} holds {base.name!r}", REMEDY)
    for name, value in config.policy.options.items():
        made_with = base.policy.config.get(name)
        if made_with != value:
            raise ConfigInvalid(
                f"policy.options.{name}", f"is {value!r}, but {where} was made with {made_with!r}", REMEDY
            )
