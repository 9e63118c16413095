"""The frames that a chunk of actions may be expressed in before the network sees it."""

import math

import torch
from torch import Tensor, nn

from fleetloop.core.spec import FeatureSpec
from fleetloop.policies.flow_options import POSITION_SCALE, YAW_SCALE
from fleetloop.policies.scene_fields import AXES, moves_grippers
from fleetloop.policies.statistics import Statistics


class GripperFrame(nn.Module):
    """Set-points relative to the measured grippers at the chunk's start: what to do next to a thing is then the same
    wherever the thing is. Actions are (x, y, z, yaw, grip) per gripper, absolute."""

    def __init__(self, hands: FeatureSpec) -> None:
        super().__init__()
        field = hands.fields.index
        self._position = [field(axis) for axis in ("x", "y", "z")]
        self._sin, self._cos = field("sin_yaw"), field("cos_yaw")
        scale = torch.tensor([POSITION_SCALE] * 3 + [YAW_SCALE, 1.0]).repeat(hands.shape[0])
        self.register_buffer("scale", scale, persistent=False)
        turns = torch.arange(hands.shape[0]) * len(AXES) + AXES.index("yaw")
        self.register_buffer("_turns", turns, persistent=False)

    scale: Tensor
    _turns: Tensor

    def _origin(self, hands: Tensor) -> Tensor:
        yaw = torch.atan2(hands[..., self._sin], hands[..., self._cos])[..., None]
        origin = torch.cat([hands[..., self._position], yaw, torch.zeros_like(yaw)], dim=-1)
        return origin.flatten(1)[:, None]

    def _shortest(self, moved: Tensor) -> Tensor:
        """Turns the short way round: a yaw is measured in (-pi, pi], and a set-point may lie beyond."""
        yaw = moved[..., self._turns]
        wrapped = torch.where(yaw.abs() > math.pi, torch.atan2(torch.sin(yaw), torch.cos(yaw)), yaw)
        return moved.index_copy(-1, self._turns, wrapped)

    def fit(self, actions: Tensor) -> None:
        """Nothing to fit: the scales are physical."""

    def encode(self, actions: Tensor, state: dict[str, Tensor]) -> Tensor:
        """(B, H, A) in the robot's units -> as the network predicts them."""
        return self._shortest(actions - self._origin(state["hands"])) / self.scale

    def decode(self, encoded: Tensor, state: dict[str, Tensor]) -> Tensor:
        return encoded * self.scale + self._origin(state["hands"])


class StandardFrame(nn.Module):
    """Actions standardised by the demonstrations' statistics; for robots that are no pair of grippers."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.stats = Statistics(actions)

    def fit(self, actions: Tensor) -> None:
        self.stats.fit(actions)

    def encode(self, actions: Tensor, state: dict[str, Tensor]) -> Tensor:
        return (actions - self.stats.mean) / self.stats.deviation

    def decode(self, encoded: Tensor, state: dict[str, Tensor]) -> Tensor:
        return encoded * self.stats.deviation + self.stats.mean


def action_frame(hands: FeatureSpec | None, action: FeatureSpec) -> GripperFrame | StandardFrame:
    """Relative to the grippers where the action moves exactly the grippers that are observed."""
    if hands is not None and moves_grippers(hands, action):
        return GripperFrame(hands)
    return StandardFrame(action.shape[0])
