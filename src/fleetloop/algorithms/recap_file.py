"""A label version of RECAP as a file: safetensors, the critic's weights; in its metadata the scales and thresholds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
from blake3 import blake3

from fleetloop.algorithms.recap_judgement import CRITIC, Judgement
from fleetloop.core.critic import Critic
from fleetloop.core.disk import Disk
from fleetloop.core.errors import ConfigInvalid

FORMAT = "fleetloop.recap/1"


def write_judgement(disk: Disk, path: Path, judgement: Judgement) -> None:
    """Raises DiskTrouble."""
    state = judgement.state_dict()
    weights = {name: value for name, value in state.items() if name.startswith(CRITIC)}
    rest = {name: value for name, value in state.items() if name not in weights}
    disk.make(path.parent)
    disk.write(path, safetensors.numpy.save(weights, metadata={FORMAT: json.dumps(rest)}))


def read_judgement(path: Path, critic: Critic) -> Judgement:
    """Into `critic`. Raises ConfigInvalid naming the file if it is none, or is of another value network."""
    return Judgement.from_state(read_state(path), critic, str(path))


def read_state(path: Path) -> Mapping[str, Any]:
    """What `Judgement.state_dict` gave. Raises ConfigInvalid naming the file if it is none."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            said = (file.metadata() or {})[FORMAT]
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise ConfigInvalid(
            str(path), f"holds no value function ({error})", "make one with `fleetloop recap fit`"
        ) from error
    return {**json.loads(said), **weights}


def file_hash(path: Path) -> str:
    """blake3 of the file's bytes."""
    return blake3(path.read_bytes()).hexdigest()
