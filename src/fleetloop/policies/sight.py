"""A frozen image encoder: from camera pictures to where the things are that it knows by name.

Each camera has an eye: a few convolutions, then one attention map per thing, of which the spatial softmax (Levine et
al. 2016, arXiv 1504.00702) gives the place in the picture and the features found there. A small network shared by all
things joins the cameras and the grippers' poses, and estimates a row of `entities`: what simulation states outright.
So a policy that sees is the same network as one that is told the state; only where its entities come from differs.

Its labels are privileged (`sight_training.py`), the acting is not: pictures and grippers are all it looks at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetloop.core.spec import CameraSpec, FeatureSpec
from fleetloop.policies.scene_fields import LEAST_DEVIATION
from fleetloop.policies.sight_options import SightOptions
from fleetloop.policies.statistics import Statistics

CHANNELS = 32
HIDDEN = 128
PRESENT = 0.5  # probability from which on a thing counts as being there


@dataclass(frozen=True)
class Look:
    """One camera's pictures: what was found of each thing, (B, K, .); the places in the picture of the grippers, then
    of the things, (B, hands + K, 2) in [-1, 1], x to the right and y down; and what is seen overall, (B, CHANNELS)."""

    found: Tensor
    places: Tensor
    overall: Tensor


@dataclass(frozen=True)
class Looked:
    """All cameras together: (B, K, fields) estimates, (B, K) logits of being there, and the places of each camera."""

    entities: Tensor
    there: Tensor
    places: Mapping[str, Tensor]


class Eye(nn.Module):
    """One camera's pictures -> per thing, the place and the features found there, and what is seen overall."""

    def __init__(self, things: int, hands: int) -> None:
        super().__init__()
        self._hands = hands
        self.map = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, CHANNELS, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.SiLU(),
        )
        self.heat = nn.Conv2d(CHANNELS, hands + things, 1)

    def forward(self, image: Tensor) -> "Look":
        """(B, h, w, 3) uint8."""
        pixels = image.permute(0, 3, 1, 2).float() / 127.5 - 1  # channels last in memory, as convolutions like it
        seen = self.map(pixels)
        heat = self.heat(seen).flatten(2)
        attention = torch.softmax(heat, dim=-1)
        places = attention @ _grid(seen)
        hands, things = places[:, : self._hands], places[:, self._hands :]
        # How far from each gripper, whose pose is known: that says how the camera is mounted here.
        offsets = (things[:, :, None] - hands[:, None]).flatten(2)
        peaks = heat[:, self._hands :].amax(-1, keepdim=True)
        found = attention[:, self._hands :] @ seen.flatten(2).transpose(1, 2)
        return Look(torch.cat([found, peaks, things, offsets], -1), places, seen.mean((2, 3)))


class Sight(nn.Module):
    """The encoder. Its parameters take no gradient once it is part of a policy.

    Attributes:
        outputs: the state features that it estimates.
        cameras: whose pictures it looks at.
    """

    def __init__(self, options: SightOptions, cameras: tuple[CameraSpec, ...], hands: FeatureSpec) -> None:
        super().__init__()
        things, fields = len(options.things), len(options.fields)
        self.options = options
        self.outputs = (
            FeatureSpec("entities", (things, fields), fields=options.fields),
            FeatureSpec("mask", (things,)),
            FeatureSpec("names", (things, 1), dtype="int64", categories=options.things),
        )
        self.cameras = cameras
        hands_width = hands.shape[0] * hands.shape[1]
        self.eyes = nn.ModuleList(Eye(things, hands.shape[0]) for _ in cameras)  # one's name may be any
        self.stats: dict[str, Statistics] = nn.ModuleDict(  # type: ignore[assignment]
            {"hands": Statistics(hands_width, LEAST_DEVIATION)}
        )
        self.found = nn.Linear(len(cameras) * (CHANNELS + 3 + 2 * hands.shape[0]), HIDDEN)
        self.around = nn.Linear(len(cameras) * CHANNELS + hands_width, HIDDEN, bias=False)
        self.thing = nn.Parameter(torch.randn(things, HIDDEN) * 0.1)
        self.rest = nn.Sequential(
            nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(),
            nn.Linear(HIDDEN, fields + 1),
        )  # fmt: skip
        self.register_buffer("names", torch.arange(things)[:, None], persistent=False)
        self._thing_called: npt.NDArray[np.int64] | None = None

    names: Tensor

    def robot_says(self, categories: tuple[str, ...]) -> None:
        """The words that the values of a robot's `names` stand for: needed for its labels, not for seeing."""
        things = {thing: index for index, thing in enumerate(self.options.things)}
        called = [[things.get(f"{one} {two}".strip(), -1) for two in categories] for one in categories]
        self._thing_called = np.array(called)

    def named(self, recorded: Mapping[str, npt.NDArray[Any]], mask: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """(n, things) the robot's label `named` (privileged), thing by thing; -1 for what was not found or not told."""
        named = np.full(mask.shape, -1, np.int64)
        if self._thing_called is None or not {"named", "names"} <= recorded.keys():
            return named
        names = recorded["names"]
        thing = self._thing_called[names[..., 0], names[..., 1]]
        frame, slot = np.nonzero(thing >= 0)
        named[frame, thing[frame, slot]] = recorded["named"][frame, slot]
        return np.where(mask > 0, named, -1)

    def look(self, hands: Tensor, images: Mapping[str, Tensor]) -> Looked:
        """(B, 2, .) gripper poses and (B, h, w, 3) uint8 per camera."""
        looks = {camera.name: eye(images[camera.name]) for camera, eye in zip(self.cameras, self.eyes, strict=True)}
        around = torch.cat([self.stats["hands"](hands.flatten(1)), *(look.overall for look in looks.values())], 1)
        found = self.found(torch.cat([look.found for look in looks.values()], -1))
        rows = self.rest(found + self.around(around)[:, None] + self.thing)
        return Looked(rows[..., :-1], rows[..., -1], {name: look.places for name, look in looks.items()})

    @torch.no_grad()
    def estimate(self, hands: Tensor, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The features named in `outputs`, but for `names`, which never change; absent things are 0."""
        looked = self.look(hands, images)
        mask = (torch.sigmoid(looked.there) >= PRESENT).float()
        return {"entities": looked.entities * mask[..., None], "mask": mask}


def _grid(seen: Tensor) -> Tensor:
    """(h * w, 2): x and y of each cell, -1 to 1."""
    height, width = seen.shape[2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)
