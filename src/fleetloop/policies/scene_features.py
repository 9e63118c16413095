"""Relative features: where every entity is as a gripper sees it, and where every gripper is as an entity sees it.

Needs state features `hands` (2, …) and `entities` (E, …) with the fields named below; found by name in the spec.
"""

import torch
from torch import Tensor, nn

from fleetloop.core.spec import FeatureSpec
from fleetloop.policies.scene_fields import NEAR, PER_HAND, POSITION, X_AXIS, YAW, Z_AXIS, columns


class SceneFeatures(nn.Module):
    """Turns hands and entities into one row of features per entity.

    Attributes:
        width: features per entity.
    """

    def __init__(self, hands: FeatureSpec, entities: FeatureSpec) -> None:
        super().__init__()
        self._hand_position, self._hand_yaw = columns(hands, POSITION), columns(hands, YAW)
        self._position = columns(entities, POSITION)
        self._x_axis, self._z_axis = columns(entities, X_AXIS), columns(entities, Z_AXIS)
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
