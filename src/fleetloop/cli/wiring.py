"""The rooms' parts, built from the configuration. The commands and the demo share it.

Simulation and torch are imported where they are needed: a courier's host may have neither.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleetloop.actor.loader import LoadPolicy
from fleetloop.actor.plan import Assignment
from fleetloop.cli.config import AlgorithmChoice, FleetConfig, OperatorChoice, PolicyChoice, RobotEntry
from fleetloop.cli.config import chosen_options as options_of
from fleetloop.core.algorithm import Algorithm
from fleetloop.core.clock import Clock, Scaled, Wall
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid, PluginBroken, SystemMissing
from fleetloop.core.judge import JudgeKind
from fleetloop.core.operator import Closable, Operator
from fleetloop.core.plugins import making, plugin
from fleetloop.core.policy import ActingPolicy
from fleetloop.core.release import Release
from fleetloop.core.robot import Robot, RobotKind
from fleetloop.core.spec import RobotSpec
from fleetloop.core.task import Site, Task
from fleetloop.hub.http.client import HttpHub
from fleetloop.weights.codec import Weights
from fleetloop.weights.signature import Trust

TOKEN = "FLEETLOOP_TOKEN"


def open_hub(chosen: FleetConfig) -> HttpHub:
    """A client of the fleet's hub; nothing is sent yet.

    Raises:
        ConfigInvalid: if the token or the certificate can't be used.
    """
    token, file = os.environ.get(TOKEN, ""), chosen.hub_token_file
    if file is not None and not token:  # a person's own, in the environment, stands above what the machine has
        try:
            token = file.read_text().strip()
        except (OSError, ValueError) as error:
            raise ConfigInvalid("hub_token_file", f"can't be read ({error})", "name a file with a token") from error
    return HttpHub(
        chosen.url,
        uplink_mbps=chosen.courier.uplink_mbps,
        token=token,
        ca=chosen.hub_ca,
        release_cache=chosen.courier.release_cache,
    )


def trust_of(config: FleetConfig) -> Trust:
    """Which releases this fleet's robots take. Raises ConfigInvalid for what is no public key."""
    return Trust(config.run, config.release_keys)


def clock_from(file: Path | None, *, create_factor: float | None = None) -> Clock:
    """Real time, or the scaled clock that the file shares; created at `create_factor` if there is none yet.

    Raises:
        SystemMissing: if the file is not there and `create_factor` is not given.
    """
    if file is None:
        return Wall()
    try:
        if create_factor is not None and not file.exists():
            return Scaled.create(file, create_factor)
        return Scaled(file)
    except (OSError, ValueError) as error:
        raise SystemMissing(
            f"clock file {file}", f"can't be used ({error})", "start the hub first: it creates the file"
        ) from error


def robot_kind(config: FleetConfig, entry: RobotEntry | None = None) -> RobotKind:
    """The fleet's kind of robot; with `entry`, under the options of that robot.

    Raises:
        ConfigInvalid: naming the option at fault.
    """
    choice = config.robot
    options = options_of("robots", choice)
    if entry and entry.options:
        own = choice.model_copy(update={"options": {**choice.options, **entry.options}})
        options = options_of("robots", own, f"robots.{entry.name}")
    return RobotKind(choice.name, options)


def disturbed(kind: RobotKind, disturb: bool | None, noise_m: float | None = None) -> RobotKind:
    """What --disturb, --calm and --noise make of a simulated robot; None says that the flag was not given.

    Raises:
        ConfigInvalid: for any other robot.
    """
    if disturb is None and noise_m is None:
        return kind
    if kind.name != "sim":
        raise ConfigInvalid(
            "--disturb, --calm, --noise", "are of the built-in simulation", "set what yours has under robot.options"
        )
    from fleetloop.sim.plugin import SimOptions
    from fleetloop.sim.scene import CALM, DISTURBED

    said = SimOptions.under(DISTURBED if disturb else CALM)
    noise_m = said.noise_m if noise_m is None else noise_m
    update = {"initial_ticks": said.initial_ticks, "events": said.events, "noise_m": noise_m}
    return replace(kind, options=kind.options.model_copy(update=update))


def judge_kind(config: FleetConfig) -> JudgeKind:
    return JudgeKind(config.judge.name, options_of("judges", config.judge))


def build_operator(choice: OperatorChoice, robot: Robot) -> Operator:
    """The operator that the configuration names, at this robot."""
    options, kind = options_of("operators", choice), plugin("operators", choice.name)
    with making("operators", choice.name):
        return kind(options, robot)  # type: ignore[no-any-return]


@contextmanager
def operator_at(choice: OperatorChoice, robot: Robot) -> Iterator[Operator]:
    """The same, and what it has taken (a terminal, a device) is given back at the end."""
    operator = build_operator(choice, robot)
    try:
        yield operator
    finally:
        if isinstance(operator, Closable):
            operator.close()


def build_algorithm(choice: AlgorithmChoice) -> Algorithm:
    """Raises PluginBroken for one that goes by another name than its entry point: checkpoints keep that name."""
    options, kind = options_of("algorithms", choice), plugin("algorithms", choice.name)
    if (named := getattr(kind, "name", None)) != choice.name:
        problem = f"its class has the name {named!r}"
        raise PluginBroken(f"algorithms: {choice.name}", problem, f"set `name` to {choice.name!r} in the class")
    with making("algorithms", choice.name):
        return kind(options)  # type: ignore[no-any-return]


def build_policy(choice: PolicyChoice, robot: RobotSpec, seed: int, encoder: Path | None = None) -> Any:
    """A fresh policy, as a torch module; its first weights are drawn from `seed`.

    Raises:
        ConfigInvalid: for an image encoder with a policy that has no use for one.
    """
    import torch

    options, kind = options_of("policies", choice), plugin("policies", choice.name)
    config = options.model_dump(mode="json") if options else {}
    torch.manual_seed(seed)
    if encoder is not None and not hasattr(kind, "seeing"):
        raise ConfigInvalid("directories.encoder", f"the policy {choice.name!r} takes none", "set it to null")
    with making("policies", choice.name):
        return kind.build(config, robot) if encoder is None else kind.seeing(config, robot, encoder)


def build_policy_loader() -> LoadPolicy:
    """What makes a release's weights act."""

    def load(release: Release, weights: Weights) -> ActingPolicy:
        kind = plugin("policies", release.policy["name"])
        return kind.acting(release.policy["config"], release.policy_spec(), weights)  # type: ignore[no-any-return]

    return load


def assignment(config: FleetConfig, robot: str, site: int, tasks: Iterable[str], purpose: str = "online") -> Assignment:
    """Raises UnknownName for a task that neither the robot nor the configuration knows."""
    return Assignment(
        run=config.run,
        robot=robot,
        host=config.host,
        site=Site.simulated(site).id,
        tasks=tasks_named(config, tasks),
        seed=config.seed,
        purpose=purpose,
    )


def tasks_named(config: FleetConfig, ids: Iterable[str]) -> tuple[Task, ...]:
    """Raises UnknownName naming the known tasks, ConfigInvalid if none is given."""
    kind = robot_kind(config)
    tasks = tuple(_own_task(config, id) or kind.task(id) for id in ids)
    if not tasks:
        ways = (
            "name some that the robot knows (`tasks` of its class), or describe some under `own_tasks` and name those"
        )
        raise ConfigInvalid("tasks", "is empty", ways)
    return tasks


def _own_task(config: FleetConfig, id: str) -> Task | None:
    own = config.own_tasks.get(id)
    return Task(id, own.instruction, own.time_limit_s, own.success) if own else None


def named_episode(config: FleetConfig, name: str) -> Episode:
    """A sealed file if there is one of this name, else the hub's episode of this id.

    Raises:
        EpisodeInvalid, HubRefused, HubUnavailable.
    """
    if Path(name).exists():
        return Episode.open(Path(name))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "episode.arrow"
        open_hub(config).get_episode(name, path)
        return Episode.from_bytes(path.read_bytes())
