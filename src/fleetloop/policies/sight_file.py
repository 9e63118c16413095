"""An image encoder on disk: `encoder.json` (what it knows, how it was made, how it errs) and its weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blake3 import blake3
from pydantic import ValidationError

from fleetloop.core.disk import Disk
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.spec import CameraSpec
from fleetloop.policies.sight import Sight
from fleetloop.policies.sight_options import SightOptions
from fleetloop.policies.weights import load_weights
from fleetloop.weights.codec import from_safetensors, to_safetensors

FORMAT = 1
DESCRIPTION, WEIGHTS = "encoder.json", "weights.safetensors"
REMEDY = "make one with `fleetloop pretrain encoder`"


class EncoderInvalid(FleetLoopError):
    """A directory holds no image encoder, or one for other images."""


def write_encoder(disk: Disk, directory: Path, sight: Sight, facts: Mapping[str, Any]) -> None:
    """Write the directory, its description last. Raises DiskTrouble."""
    data = to_safetensors({name: tensor.numpy() for name, tensor in sight.state_dict().items()})
    description = {
        "format": FORMAT,
        "sight": sight.options.model_dump(mode="json"),
        "cameras": [asdict(camera) for camera in sight.cameras],
        "weights_hash": blake3(data).hexdigest(),
        "facts": dict(facts),
    }
    disk.make(directory)
    disk.write(directory / WEIGHTS, data)
    disk.write(directory / DESCRIPTION, json.dumps(description, indent=1).encode())


def encoder_options(directory: Path, cameras: tuple[CameraSpec, ...]) -> SightOptions:
    """What the encoder in a directory knows.

    Raises:
        EncoderInvalid: if there is none, or it was made for other cameras or another resolution than `cameras`.
    """
    description = _description(directory)
    made_for = [CameraSpec(**camera) for camera in description["cameras"]]
    if made_for != list(cameras):  # in this order, too: its layers know cameras by their place
        raise EncoderInvalid(
            str(directory),
            f"was made for {_words(made_for)}; the policy sees {_words(cameras)}",
            "set policy.options.image_px as it was made, or make another with `fleetloop pretrain encoder`",
        )
    try:
        return SightOptions.model_validate(description["sight"])
    except ValidationError as error:
        problem = f"is not understood ({error.error_count()} errors)"
        raise EncoderInvalid(f"{directory}: sight", problem, REMEDY) from None


def encoder_tasks(directory: Path) -> frozenset[str]:
    """Whose things it has seen. Raises EncoderInvalid."""
    return frozenset(_description(directory)["facts"].get("tasks", ()))


def load_eyes(directory: Path, sight: Sight) -> None:
    """Load a directory's weights into the encoder that its `encoder_options` describe.

    Raises:
        EncoderInvalid, ReleaseInvalid: if the weights are not what the description says.
    """
    try:
        data = (directory / WEIGHTS).read_bytes()
    except OSError as error:
        raise EncoderInvalid(str(directory / WEIGHTS), f"can't be read ({error})", REMEDY) from error
    if blake3(data).hexdigest() != _description(directory)["weights_hash"]:
        raise EncoderInvalid(str(directory / WEIGHTS), f"is not what {DESCRIPTION} says", REMEDY)
    load_weights(sight, from_safetensors(data))


def _description(directory: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((directory / DESCRIPTION).read_bytes())
    except (OSError, ValueError) as error:
        raise EncoderInvalid(str(directory), f"holds no image encoder ({error})", REMEDY) from error
    if description.get("format") != FORMAT:
        raise EncoderInvalid("format", f"is {description.get('format')!r}", f"this version reads {FORMAT}")
    return description


def _words(cameras: tuple[CameraSpec, ...] | list[CameraSpec]) -> str:
    return ", ".join(f"{camera.name} {camera.width}x{camera.height}" for camera in cameras) or "no camera"
