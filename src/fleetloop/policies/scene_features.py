"""Relative features: where every entity is as a gripper sees it, and where every gripper is as an entity sees it.

Needs state features `hands` (2, …) and `entities` (E, …) with the fields named below; found by name in the spec.
"""

import torch
from torch import Tensor, nn

from fleetloop.core.spec import FeatureSpec

POSITION = ("x", "y", "z")
X_AXIS = ("x_axis_x", "x_axis_y", "x_axis_z")
Z_AXIS = ("z_axis_x", "z_axis_y", "z_axis_z")
YAW = ("sin_yaw", "cos_yaw")
NEAR = 0.03  # metres: within about this distance a gripper must be exact, so tanh(offset / NEAR) spreads it
PER_HAND = 11


class SceneFeatures(nn.Module):
    """Turns hands and entities into one row of features per entity.

    Attributes:
        width: features per entity.
    """

    def __init__(self, hands: FeatureSpec, entities: FeatureSpec) -> None:
        super().__init__()
        hand, entity = hands.fields.index, entities.fields.index
        self._hand_position = [hand(field) for field in POSITION]
        self._hand_yaw = [hand(field) for field in YAW]
        self._position, self._x_axis, self._z_axis = (
            [entity(field) for field in axis] for axis in (POSITION, X_AXIS, Z_AXIS)
        )
        self.width = len(entities.fields) + PER_HAND * hands.shape[0]

    def positions(self, entities: Tensor) -> Tensor:
        """(B, E, 3): where the entities are."""
        return entities[..., self._position]

    def hand_positions(self, hands: Tensor) -> Tensor:
        """(B, 2, 3): where the grippers are."""
        return hands[..., self._hand_position]

    def forward(self, hands: Tensor, entities: Tensor, mask: Tensor) -> Tensor:
        """(B, 2, .), (B, E, .), (B, E) -> (B, E, width); unused entities are 0."""
        x_axis, z_axis = entities[..., self._x_axis], entities[..., self._z_axis]
        axes = torch.stack([x_axis, torch.linalg.cross(z_axis, x_axis), z_axis], dim=-2)  # (B, E, 3, 3)
        parts = [entities]
        for hand in range(hands.shape[1]):
            offset = entities[..., self._position] - hands[:, hand, None, self._hand_position]
            seen_by_entity = torch.einsum("beij,bej->bei", axes, offset)
            sin, cos = hands[:, hand, None, self._hand_yaw].unbind(-1)
            along = cos * x_axis[..., 0] + sin * x_axis[..., 1]
            across = sin * x_axis[..., 0] - cos * x_axis[..., 1]
            # Twice the angle: a gripper turned by half a turn grips the same.
            turn = torch.stack([2 * across * along, along**2 - across**2], dim=-1)
            parts += [offset, seen_by_entity, torch.tanh(offset / NEAR), turn]
        return torch.cat(parts, dim=-1) * mask[..., None]


def has_scene(features: tuple[FeatureSpec, ...]) -> bool:
    """Whether these state features carry what `SceneFeatures` needs."""
    by_name = {feature.name: set(feature.fields) for feature in features}
    return {*POSITION, *YAW} <= by_name.get("hands", set()) and {*POSITION, *X_AXIS, *Z_AXIS} <= by_name.get(
        "entities", set()
    )
