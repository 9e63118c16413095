"""A policy on disk, from which a run starts: `base.json` (what it is) and `weights.safetensors` (unrounded)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from fleetloop.core.disk import Disk
from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.plugins import plugin
from fleetloop.core.spec import RobotSpec
from fleetloop.core.versions import versions
from fleetloop.learner.errors import BaseInvalid
from fleetloop.learner.export import exact_weights, is_statistic, statistics_hash, tensors
from fleetloop.weights.codec import from_safetensors, to_safetensors

FORMAT = 1
WEIGHTS, DESCRIPTION = "weights.safetensors", "base.json"
NAMED = 5  # tensors that an error lists


@dataclass(frozen=True)
class Base:
    """A policy with its statistics fitted.

    Attributes:
        policy: the torch module.
        name: of its plug-in.
        robot: the robot that it was built for.
        facts: how it came to be: steps, tasks, episodes, losses; for people to read.
    """

    policy: Any
    name: str
    robot: RobotSpec
    facts: Mapping[str, Any] = field(default_factory=dict)

    def manifest(self) -> dict[str, Any]:
        """What a release says of its policy."""
        return {"name": self.name, "config": dict(self.policy.config)}


def write_base(disk: Disk, directory: Path, base: Base) -> None:
    """Write the directory, its description last.

    Raises:
        BaseInvalid: for a policy whose `config` is no JSON; nothing is written.
        DiskTrouble: if the directory can't be written.
    """
    state = base.policy.state_dict()
    data = to_safetensors(exact_weights(state))
    description = {
        "format": FORMAT,
        "policy": base.manifest(),
        "spec": base.policy.spec.to_json(),
        "robot": base.robot.to_json(),
        "statistics_hash": statistics_hash(state),
        "weights_hash": blake3(data).hexdigest(),
        "facts": dict(base.facts),
        "versions": versions(),  # for people to read
    }
    try:
        said = json.dumps(description, indent=1).encode()
    except (TypeError, ValueError) as error:
        problem = f"of {base.name!r} is not JSON ({error})"
        raise BaseInvalid("policy.config", problem, "hold numbers, texts, lists and dicts in `config`") from error
    disk.make(directory)
    disk.write(directory / WEIGHTS, data)
    disk.write(directory / DESCRIPTION, said)


def load_base(directory: Path) -> Base:
    """Read what `write_base` wrote; the policy's class comes from the plug-ins.

    Raises:
        BaseInvalid: naming the file or field that is missing or wrong.
        UnknownName: if no installed policy goes by its name.
    """
    try:
        description = json.loads((directory / DESCRIPTION).read_bytes())
        data = (directory / WEIGHTS).read_bytes()
    except (OSError, ValueError) as error:
        raise BaseInvalid(
            str(directory), f"holds no base policy ({error})", "make one with `fleetloop pretrain`"
        ) from error
    try:
        if description["format"] != FORMAT:
            raise BaseInvalid("format", f"is {description['format']!r}", f"this version reads {FORMAT}")
        if blake3(data).hexdigest() != description["weights_hash"]:
            raise BaseInvalid(WEIGHTS, f"is not what {DESCRIPTION} says", "make it anew with `fleetloop pretrain`")
        name, config, facts = description["policy"]["name"], description["policy"]["config"], description["facts"]
        robot = RobotSpec.from_json(description["robot"])
    except (KeyError, TypeError, ValueError) as error:
        problem = f"is no description of a base ({type(error).__name__}: {error})"
        raise BaseInvalid(DESCRIPTION, problem, "make it anew with `fleetloop pretrain`") from error
    policy = plugin("policies", name).build(config, robot)
    try:
        policy.load_state_dict(tensors(from_safetensors(data)))
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise BaseInvalid(WEIGHTS, f"doesn't fit the policy {name!r} ({problem})", "make it anew") from error
    return Base(policy, name, robot, facts)


def fill(policy: Any, file: Path, may_lack: Callable[[str], bool] = is_statistic) -> str:
    """Give a policy the weights of a safetensors file, under its own names; returns the blake3 of the file.

    Statistics may be missing, as they are fitted afterwards, unless `may_lack` says otherwise of a tensor's name.

    Raises:
        BaseInvalid: naming the tensors that are missing, too many or of another shape.
    """
    try:
        data = file.read_bytes()
        given = tensors(from_safetensors(data))
    except (OSError, ReleaseInvalid) as error:
        raise BaseInvalid(str(file), f"can't be read ({error})", "name a safetensors file") from error
    own = policy.state_dict()
    wrong = {
        "lacks": [name for name in own if name not in given and not may_lack(name)],
        "has, and the policy has not,": [name for name in given if name not in own],
        "has in another shape": [name for name in own if name in given and own[name].shape != given[name].shape],
    }
    if problem := "; ".join(f"{what} {_listed(names)}" for what, names in wrong.items() if names):
        remedy = "write a file with the names of the policy's `state_dict()`, or set the options that it was made with"
        raise BaseInvalid(str(file), problem, remedy)
    policy.load_state_dict({**own, **given})
    return blake3(data).hexdigest()


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
