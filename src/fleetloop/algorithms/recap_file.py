"""A label version of RECAP as a file: safetensors, the critic's weights; in its metadata the scales and thresholds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
from blake3 import blake3

from fleetloop.algorithms.recap_judgement import CRITIC, Judgement
from fleetloop.algorithms.recap_options import RecapOptions
from fleetloop.core.critic import Critic
from fleetloop.core.disk import Disk
from fleetloop.core.errors import ConfigInvalid

FORMAT, OPTIONS = "fleetloop.recap/1", "fleetloop.recap.options"
DECIDING = {"positives", "horizon_s", "c_fail_s", "t_max_s", "tasks", "intervention_weight"}
REMEDY = "make one with `fleetloop recap fit`"


def write_judgement(disk: Disk, path: Path, judgement: Judgement, options: RecapOptions) -> None:
    """`options` are those that it was fitted under. Raises DiskTrouble."""
    state = judgement.state_dict()
    weights = {name: value for name, value in state.items() if name.startswith(CRITIC)}
    rest = {name: value for name, value in state.items() if name not in weights}
    disk.make(path.parent)
    metadata = {FORMAT: json.dumps(rest), OPTIONS: json.dumps(_deciding(options))}
    disk.write(path, safetensors.numpy.save(weights, metadata=metadata))


def read_judgement(path: Path, critic: Critic) -> Judgement:
    """Into `critic`. Raises ConfigInvalid naming the file if it is none, or is of another value network."""
    return Judgement.from_state(read_state(path), critic, str(path))


def read_state(path: Path) -> Mapping[str, Any]:
    """What `Judgement.state_dict` gave. Raises ConfigInvalid naming the file if it is none."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            said = json.loads((file.metadata() or {})[FORMAT])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        return {**said, **weights}
    except (OSError, KeyError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise ConfigInvalid(str(path), f"holds no value function ({error})", REMEDY) from error


def check_options(path: Path, options: RecapOptions) -> None:
    """Raise ConfigInvalid where these say something else than what the file was fitted under, as far as it tells."""
    with safetensors.safe_open(path, "numpy") as file:
        said = json.loads((file.metadata() or {}).get(OPTIONS, "{}"))
    for name, value in _deciding(options).items():
        if name in said and said[name] != value:
            problem = f"is {value!r}, and {path} was fitted with {said[name]!r}"
            raise ConfigInvalid(f"algorithm.options.{name}", problem, "fit it anew, or set that back")


def _deciding(options: RecapOptions) -> dict[str, Any]:
    """What labels depend on beside the experience."""
    return options.model_dump(mode="json", include=DECIDING)


def file_hash(path: Path) -> str:
    """blake3 of the file's bytes."""
    return blake3(path.read_bytes()).hexdigest()
