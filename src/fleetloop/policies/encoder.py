"""What the policy makes of an observation and an instruction: one vector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetloop.core.picture import resized
from fleetloop.core.spec import PolicySpec
from fleetloop.policies.grounding import Grounding
from fleetloop.policies.namesake import squashed_length
from fleetloop.policies.scene_features import SceneFeatures
from fleetloop.policies.scene_fields import LEAST_DEVIATION, has_scene
from fleetloop.policies.sight import Sight
from fleetloop.policies.sight_options import SightOptions
from fleetloop.policies.statistics import Statistics
from fleetloop.policies.words import Words

IMAGE_WIDTH = 48
AT_ONCE = 32  # frames that frozen eyes look at in one go: more need memory and are no quicker


@dataclass(frozen=True)
class Encoded:
    """An observation and its instruction, as the trunk takes them.

    Attributes:
        measured: (B, .) normalised numbers; no gradient flows into them.
        learned: (B, .) what learned layers made: words, what the pointers found, images.
        log_pointers: (B, heads, E) log-probabilities; None where there are no entities.
        anchors: (B, hands, F, 3) metres from each gripper to each place that a set-point may be tied to: what the
            pointers found, then every entity; None where there are no entities.
        anchor_mask: (B, F), 0 for unused entities.
    """

    measured: Tensor
    learned: Tensor
    log_pointers: Tensor | None
    anchors: Tensor | None
    anchor_mask: Tensor | None


class Encoder(nn.Module):
    """Words, numbers, entities and images, side by side.

    Attributes:
        measured_width, learned_width: of the two vectors of `Encoded`; anchors: F of `Encoded.anchors`.
    """

    def __init__(self, spec: PolicySpec, words: int, pointers: int, sight: SightOptions | None = None) -> None:
        super().__init__()
        self.sight: Sight | None = None
        inputs = spec.inputs
        if sight is not None:
            hands = next(feature for feature in spec.inputs if feature.name == "hands")
            self.sight = Sight(sight, spec.cameras, hands).requires_grad_(False)
            inputs += self.sight.outputs
        by_name = {feature.name: feature for feature in inputs}
        scene = has_scene(inputs)
        apart = {"entities", "mask", "names"} if scene else set()
        self._plain = [item.name for item in inputs if item.name not in apart]
        plain_width = sum(int(np.prod(by_name[name].shape)) for name in self._plain)
        self.words = Words(words)
        self.scene = SceneFeatures(by_name["hands"], by_name["entities"]) if scene else None
        scene_width = self.scene.width if self.scene else 0
        slots = by_name["entities"].shape[0] if scene else 0
        least = LEAST_DEVIATION if scene else 0.0
        self.stats: dict[str, Statistics] = nn.ModuleDict({"plain": Statistics(plain_width, least)})  # type: ignore[assignment]
        self.measured_width, self.learned_width = plain_width, words
        if scene:
            self.stats["slots"] = Statistics(slots * scene_width, least)
            self.stats["entity"] = Statistics(scene_width, least)
            self.grounding = Grounding(words, pointers, by_name["names"].categories)
            self.measured_width += slots * scene_width
            self.learned_width += pointers * scene_width
        self.anchors = pointers + slots if scene else 0
        self._cameras = spec.cameras
        self.eyes = nn.ModuleList(() if sight else (_eye() for _ in spec.cameras))  # a camera's name may be any
        self.learned_width += IMAGE_WIDTH * len(self.eyes)

    def fit(self, state: Mapping[str, Tensor]) -> None:
        """Fit the statistics to a batch of observations."""
        self.stats["plain"].fit(self._plain_row(state))
        if self.scene:
            rows = self.scene(state["hands"], state["entities"], state["mask"])
            self.stats["slots"].fit(rows.flatten(1))
            self.stats["entity"].fit(rows[state["mask"] > 0])

    def forward(
        self, state: Mapping[str, Tensor], images: Mapping[str, Tensor], sentences: Tensor, instruction: Tensor
    ) -> Encoded:
        """(B, …) state, (B, h, w, 3) uint8 images, (I, W) word ids and (B,) which of them applies.

        With frozen eyes, no images if `state` holds what they found.
        """
        if self.sight is not None:
            found_in = self.sight.estimate(state["hands"], images) if images else {}
            state = {**state, **found_in, "names": self.sight.names.expand(len(instruction), -1, -1)}
        sentence = self.words(sentences)
        measured = [self.stats["plain"](self._plain_row(state))]
        learned = [sentence[instruction]]
        pointers = anchors = anchor_mask = None
        if self.scene:
            rows = self.scene(state["hands"], state["entities"], state["mask"])
            positions = self.scene.positions(state["entities"])
            away = positions[:, None] - self.scene.hand_positions(state["hands"])[:, :, None]  # (B, hands, E, 3)
            near = squashed_length(away).amin(1)
            pointers = self.grounding(
                self.words, sentence, instruction, state["names"], state["mask"], positions=positions, near=near
            )
            measured.append(self.stats["slots"](rows.flatten(1)))
            found = pointers.exp()
            learned.append(torch.bmm(found, self.stats["entity"](rows)).flatten(1))
            places = torch.bmm(found, positions)[:, None] - self.scene.hand_positions(state["hands"])[:, :, None]
            anchors = torch.cat([places, away], dim=2)
            anchor_mask = torch.cat([torch.ones_like(found[:, :, 0]), state["mask"]], dim=1)
        learned += [eye(_pixels(images[camera.name])) for camera, eye in zip(self._cameras, self.eyes, strict=False)]
        return Encoded(torch.cat(measured, 1), torch.cat(learned, 1), pointers, anchors, anchor_mask)

    def prepare(self, images: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, Tensor]:
        """Camera images of one observation at the policy's resolution, as a batch of one."""
        prepared = {}
        for camera in self._cameras:
            image = resized(images[camera.name], camera.height, camera.width)
            prepared[camera.name] = torch.from_numpy(np.array(image))[None]
        return prepared

    @torch.no_grad()
    def features(
        self, recorded: Mapping[str, npt.NDArray[Any]], images: Mapping[str, npt.NDArray[np.uint8]]
    ) -> dict[str, npt.NDArray[Any]]:
        """The images of n frames; or what frozen eyes find in them, and which of that the instruction speaks of."""
        if self.sight is None:
            return dict(images)
        found: dict[str, list[npt.NDArray[Any]]] = {"entities": [], "mask": []}
        for start in range(0, len(recorded["hands"]), AT_ONCE) or (0,):
            cut = slice(start, start + AT_ONCE)
            pixels = {name: torch.from_numpy(image[cut]) for name, image in images.items()}
            for name, tensor in self.sight.estimate(torch.from_numpy(recorded["hands"][cut]), pixels).items():
                found[name].append(tensor.numpy())
        seen = {name: np.concatenate(parts) for name, parts in found.items()}
        return {**seen, "named": self.sight.named(recorded, seen["mask"])}

    def _plain_row(self, state: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([state[name].reshape(len(state[name]), -1).float() for name in self._plain], dim=1)


def _eye() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4, padding=2),
        nn.SiLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 16, IMAGE_WIDTH),
    )


def _pixels(image: Tensor) -> Tensor:
    return image.permute(0, 3, 1, 2).float() / 127.5 - 1


def tensors_of(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Floats of any width as the 32 bits that everything computes in."""
    found = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
