"""One typed configuration for everything, `fleet.yaml`: the rooms' options and what binds them together.

What is in force is, in this order, the defaults, the file, `--set a.b=c`, and the flags of a command.
"""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleetloop.actor.options import ActorOptions
from fleetloop.cli.config_errors import explain
from fleetloop.cli.config_file import parse, read_file
from fleetloop.cli.dotted_path import put
from fleetloop.core.errors import ConfigInvalid, PluginBroken, UnknownName
from fleetloop.core.plugins import plugin, require_installed
from fleetloop.courier.options import CourierOptions
from fleetloop.hub.options import HubOptions
from fleetloop.learner.options import LearnerOptions, PretrainOptions
from fleetloop.policies.sight_options import EncoderOptions

Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """Frozen, and no key that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PolicyChoice(Section):
    """Which policy learns and drives."""

    name: str = Field(default="flow", description="an installed policy, by its entry point in fleetloop.policies")
    options: Mapping[str, Any] = Field(default_factory=dict, description="its own options")


class AlgorithmChoice(Section):
    """What turns experience into updates."""

    name: str = Field(
        default="hg_dagger", description="an installed algorithm, by its entry point in fleetloop.algorithms"
    )
    options: Mapping[str, Any] = Field(default_factory=dict, description="its own options")


class OperatorChoice(Section):
    """Who watches the robots."""

    name: str = Field(
        default="scripted", description="an installed operator, by its entry point in fleetloop.operators"
    )
    options: Mapping[str, Any] = Field(default_factory=dict, description="its own options")


class RobotChoice(Section):
    """What kind of robot the fleet has."""

    name: str = Field(default="sim", description="an installed robot, by its entry point in fleetloop.robots")
    options: Mapping[str, Any] = Field(default_factory=dict, description="its own options")


class JudgeChoice(Section):
    """Who says how an episode ended."""

    name: str = Field(default="simulator", description="an installed judge, by its entry point in fleetloop.judges")
    options: Mapping[str, Any] = Field(default_factory=dict, description="its own options")


class OwnTask(Section):
    """A task that the robot's plug-in does not know."""

    instruction: str = Field(min_length=1, description="what the robot is told")
    time_limit_s: float = Field(gt=0, description="clock seconds after which an attempt ends as a timeout")
    success: str = Field(default="", description="the success rule in words")


class ClockOptions(Section):
    """The fleet's clock. All processes of one fleet share it."""

    file: Path | None = Field(
        default=None, description="the small file through which processes share a scaled clock; null: real time"
    )
    factor: float = Field(
        default=1.0, gt=0, description="clock seconds per real second; used by the hub when it creates the file"
    )


class RobotEntry(Section):
    """One robot of the fleet."""

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$", description="unique in the fleet; letters, digits, _ . -")
    site: int = Field(ge=0, description="seed of the simulated site that it stands at; 0 is the nominal one")
    tasks: tuple[str, ...] | None = Field(default=None, description="what it is to do; null: the fleet's tasks")
    options: Mapping[str, Any] = Field(
        default_factory=dict, description="where it differs from robot.options, e.g. in a camera's device"
    )


class Directories(Section):
    """Where things are kept; relative to where the command is started."""

    home: Path = Field(default=Path("host"), description="shared by the actors and the courier of one host")
    learner: Path = Field(default=Path("learner"), description="the learner's checkpoints, metrics and cached episodes")
    base: Path = Field(default=Path("base"), description="the pretrained policy that a run starts from")
    demonstrations: Path = Field(default=Path("demonstrations"), description="sealed episodes to learn from offline")
    encoder: Path | None = Field(
        default=None,
        description="a frozen image encoder for a base that observes images, see `fleetloop pretrain encoder`; "
        "null: the policy learns eyes of its own",
    )


class FleetConfig(Section):
    """Everything that a user may set."""

    run: str = Field(
        default="run",
        min_length=1,
        description="name of the training run; one policy, one configuration, one set of statistics",
    )
    seed: int = Field(default=0, ge=0, lt=1 << 31, description="of the robots' resets and of the policy's noise")
    host: str = Field(
        default_factory=platform.node,
        min_length=1,
        description="name of this machine in the fleet view; by default its own",
    )
    tasks: tuple[str, ...] = Field(
        default=("restock/shelf", "laundry/fold", "box/walls"),
        min_length=1,
        description="what the fleet works at; the hub takes episodes of these and of the robots' own tasks alone",
    )
    own_tasks: Mapping[str, OwnTask] = Field(
        default_factory=dict, description="by id, tasks that the robot does not know by itself, or knows otherwise"
    )
    robot: RobotChoice = Field(default=RobotChoice(), description="what kind of robot the fleet has")
    robots: tuple[RobotEntry, ...] = Field(
        default=tuple(RobotEntry(name=f"robot-{number}", site=number) for number in range(1, 5)),
        description="the fleet, one entry per robot",
    )
    hub_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="where the hub is found, e.g. http://127.0.0.1:8787; null: at hub.host and hub.port",
    )
    hub_token_file: Path | None = Field(
        default=None,
        description="file with the token for a hub that asks for one; the environment's FLEETLOOP_TOKEN goes before it",
    )
    hub_ca: Path | None = Field(
        default=None,
        description="PEM file with the certificate to trust the hub by, and beside the system's ones its store; null: "
        "the system's",
    )
    release_keys: tuple[str, ...] = Field(
        default=(),
        description="public keys; robots take only releases that are signed by one of them (`fleetloop keys make`); "
        "empty: unsigned ones too",
    )
    directories: Directories = Field(default=Directories(), description="where things are kept")
    clock: ClockOptions = Field(default=ClockOptions(), description="the fleet's clock")
    policy: PolicyChoice = Field(default=PolicyChoice(), description="which policy learns and drives")
    algorithm: AlgorithmChoice = Field(
        default=AlgorithmChoice(),
        description="what turns experience into updates; `fleetloop pretrain` clones, whichever it is",
    )
    operator: OperatorChoice = Field(default=OperatorChoice(), description="who watches the robots")
    judge: JudgeChoice = Field(default=JudgeChoice(), description="who says how an episode ended")
    hub: HubOptions = Field(default=HubOptions(), description="where the hub lives, whom it serves, what it takes")
    courier: CourierOptions = Field(default=CourierOptions(), description="how episodes go up and releases come down")
    actor: ActorOptions = Field(default=ActorOptions(), description="how a robot is driven")
    learner: LearnerOptions = Field(default=LearnerOptions(), description="how the policy goes on learning")
    pretrain: PretrainOptions = Field(default=PretrainOptions(), description="how the base is made")
    encoder: EncoderOptions = Field(default=EncoderOptions(), description="how the frozen image encoder is made")

    @model_validator(mode="after")
    def _robots_are_told_apart(self) -> "FleetConfig":
        names = [robot.name for robot in self.robots]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"robots: two are called {min(twice)!r}")
        return self

    @model_validator(mode="after")
    def _a_hub_that_answers_is_not_silent(self) -> "FleetConfig":
        if self.courier.beat_wall_s >= self.actor.hub_silent_wall_s:
            raise ValueError("actor.hub_silent_wall_s: is no longer than courier.beat_wall_s; make it longer")
        return self

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """`tasks`, and what single robots are to do beside them."""
        return tuple(dict.fromkeys([*self.tasks, *(task for robot in self.robots for task in robot.tasks or ())]))

    @property
    def url(self) -> str:
        """Where the hub is found."""
        if self.hub_url:
            return self.hub_url
        host = f"[{self.hub.host}]" if ":" in self.hub.host else self.hub.host
        return f"{self.hub.scheme}://{host}:{self.hub.port}"

    def member(self, name: str, new_at: int | None = None) -> RobotEntry:
        """The entry of this robot, at another site if `new_at` says so; a robot without an entry needs `new_at`.

        Raises:
            UnknownName: naming the robots of the fleet.
            ConfigInvalid: for a name that no robot may have.
        """
        entry = next((entry for entry in self.robots if entry.name == name), None)
        if new_at is not None:
            own = entry.model_dump() if entry else {}
            return parsed(RobotEntry, {**own, "name": name, "site": new_at}, "robot")
        if entry is not None:
            return entry
        known = ", ".join(entry.name for entry in self.robots) or "none"
        raise UnknownName(f"robot {name}", "is not in the configuration", f"known: {known}; or say where with --site")


Choice: TypeAlias = PolicyChoice | AlgorithmChoice | RobotChoice | OperatorChoice | JudgeChoice
SECTIONS = {
    "policies": "policy",
    "algorithms": "algorithm",
    "robots": "robot",
    "operators": "operator",
    "judges": "judge",
}
"""The kinds of plug-ins, and where each is chosen."""
Sets = Sequence[str]
"""What the user gave as `--set a.b=c`."""


def load_config(path: Path | None = None, sets: Sets = (), flags: Mapping[str, Any] | None = None) -> FleetConfig:
    """What is in force. `flags` maps dotted paths to values; None says that the flag was not given.

    Without a path `fleet.yaml` is read if it is there. Where another plug-in is named than the file names, the file's
    options are not for it, and don't count.

    Raises:
        ConfigInvalid: naming the file, or the dotted path of the key at fault.
        UnknownName: for a plug-in that is not installed.
    """
    values = read_file(path)
    said = [_assigned(text) for text in sets]
    said += [(name, value) for name, value in (flags or {}).items() if value is not None]
    _drop_options_of_others(values, dict(said))
    for name, value in said:
        put(values, name, value)
    config = parsed(FleetConfig, values)
    for kind, section in SECTIONS.items():
        require_installed(kind, getattr(config, section).name)  # not imported: that may mean importing torch
    return config


def _assigned(assignment: str) -> tuple[str, Any]:
    name, equals, text = assignment.partition("=")
    if not equals or not name:
        raise ConfigInvalid(f"--set {assignment}", "is no assignment", "write it as --set learner.batch=128")
    return name, parse(text, f"--set {name}")


def _drop_options_of_others(values: dict[str, Any], said: Mapping[str, Any]) -> None:
    for section in SECTIONS.values():
        chosen, default = values.get(section), FleetConfig.model_fields[section].default
        named = said.get(f"{section}.name")
        if named is not None and isinstance(chosen, dict) and named != chosen.get("name", default.name):
            chosen.pop("options", None)


def chosen_options(kind: str, choice: Choice, section: str = "") -> BaseModel | None:
    """A plug-in's own options, checked; None for one that takes none.

    Raises:
        UnknownName, PluginBroken: if the plug-in is not to be had.
        ConfigInvalid: naming the dotted path, under `section`, of the key at fault.
    """
    section = section or SECTIONS[kind]
    model: Any = getattr(plugin(kind, choice.name), "Options", None)
    if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginBroken(f"{kind}: {choice.name}", "its Options are no pydantic model", "derive them from BaseModel")
    if model is None:
        if choice.options:
            raise ConfigInvalid(f"{section}.options", f"{choice.name!r} takes none", "remove them")
        return None
    try:
        return parsed(model, choice.options, f"{section}.options")
    except ConfigInvalid as error:
        if choice.options.keys() <= model.model_fields.keys():
            raise
        remedy = f"{error.remedy}; if it is of another than {choice.name!r}, remove it"
        raise ConfigInvalid(error.field, error.problem, remedy) from None


def parsed(model: type[Model], values: Mapping[str, Any], prefix: str = "") -> Model:
    """Raises ConfigInvalid naming the dotted path, under `prefix`, of the key at fault."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise explain(error, model, prefix) from None
