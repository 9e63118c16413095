"""A scripted operator: an expert who watches, takes over when the policy errs or dawdles, and hands back when safe.

It stands in for a person in simulation. It is privileged: its expert reads the simulator's true state, and so does its
gate. Say so wherever its figures stand.
"""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fleetloop.core.errors import ConfigInvalid, SpecMismatch
from fleetloop.core.frame import FloatArray
from fleetloop.core.operator import Drive, HandBack, View
from fleetloop.core.robot import OffersExpert, Robot


class ScriptedOptions(BaseModel):
    """How attentive and how strict the scripted operator is. Times are control ticks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    take_over_above: float = Field(0.40, ge=0, le=1, description="smoothed disagreement that makes it take over")
    hand_back_below: float = Field(0.20, ge=0, le=1, description="smoothed disagreement that lets it hand back")
    smoothing: float = Field(0.85, ge=0, lt=1, description="share of the old disagreement kept at each tick")
    reaction: int = Field(4, ge=0, description="ticks between seeing a reason and asking for the robot")
    patience: int = Field(6, ge=0, description="ticks that the policy gets after a start or a hand-back")
    stall_ticks: int = Field(30, ge=2, description="the task came no closer to its end for so long: it takes over")
    late: float = Field(0.7, ge=0, description="share of the time limit after which it takes over and finishes itself")
    least_ticks: int = Field(16, ge=1, description="a takeover lasts at least so long")
    most_ticks: int = Field(100, ge=1, description="a takeover hands back after so long, agreed or not")
    full_disagreement: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.03, 0.03, 0.03, 0.15, 2.0),
        min_length=1,
        description="difference between two actions that counts as full disagreement, axis by axis of one gripper, in "
        "the action's units (by default 3 cm, 0.15 rad, the other grip); it is repeated over the grippers",
    )
    takeovers: int = Field(4, ge=0, description="takeovers per episode, of which the last is driven to the end")


CALM = 0.1  # where the smoothed disagreement starts
CLOSER = 0.05  # growth of the expert's `progress` that counts as the task having come closer to its end


class ScriptedOperator:
    """Drives as the robot's own expert would, while its gate and its attention lease allow.

    Raises:
        SpecMismatch: if the robot has no expert.
        ConfigInvalid: if `full_disagreement` does not fit the robot's action.
    """

    Options: ClassVar[type[ScriptedOptions]] = ScriptedOptions
    name = "scripted"

    def __init__(self, options: ScriptedOptions, robot: Robot) -> None:
        if not isinstance(robot, OffersExpert):
            raise SpecMismatch("operator", "this robot has no expert to be driven by", "choose keyboard or none")
        axes, size = len(options.full_disagreement), robot.spec.action.shape[0]
        if size % axes:
            raise ConfigInvalid(
                "operator.options.full_disagreement",
                f"has {axes} numbers, and the robot's action {size} axes",
                "say for each axis, in the action's unit, what difference between operator and policy is a full one",
            )
        self.options, self._expert = options, robot.expert()
        self._full = np.array(options.full_disagreement, np.float32)
        self.wants_attention = False
        self.start("")

    def start(self, instruction: str) -> None:
        self.wants_attention = False
        self._disagreement = CALM
        self._reasoned = self._since_change = self._driven = self._takeovers = 0
        self._watch_progress_anew()

    def watch(self, view: View) -> Drive | HandBack | None:
        action = self._expert.action()
        self._since_change += 1
        self._notice_progress()
        if view.proposed is not None:
            keep = self.options.smoothing
            self._disagreement = keep * self._disagreement + (1 - keep) * disagreement(
                view.proposed, action, self._full
            )
        return self._drive(view, action) if view.driving else self._look_on(view, action)

    def _look_on(self, view: View, action: FloatArray) -> Drive | None:
        self._reasoned = self._reasoned + 1 if self._has_reason(view) else 0
        self.wants_attention = self._reasoned > self.options.reaction
        if not (self.wants_attention and view.attention):
            return None
        self._takeovers += 1
        self._driven = self._since_change = 0
        self._watch_progress_anew()
        return Drive(action)

    def _drive(self, view: View, action: FloatArray) -> Drive | HandBack:
        self._driven += 1
        if self._driven < self.options.least_ticks or self._finishes(view):
            return Drive(action)
        safe = self._disagreement < self.options.hand_back_below and self._closer
        if safe or self._driven >= self.options.most_ticks:
            self._watch_progress_anew()
            self._disagreement, self._since_change, self._reasoned = CALM, 0, 0
            self.wants_attention = False
            return HandBack()
        return Drive(action)

    def _has_reason(self, view: View) -> bool:
        if self._takeovers >= self.options.takeovers and not view.elapsed > self.options.late:
            return False
        errs = self._disagreement > self.options.take_over_above and self._since_change > self.options.patience
        return errs or self._stalled() or view.elapsed > self.options.late

    def _stalled(self) -> bool:
        return self._idle > self.options.stall_ticks

    def _watch_progress_anew(self) -> None:
        self._best: float | None = None
        self._idle, self._closer = 0, False

    def _notice_progress(self) -> None:
        progress = self._expert.progress()
        if self._best is None:
            self._best = progress
        self._idle += 1
        if progress > self._best + CLOSER:
            self._best, self._idle, self._closer = progress, 0, True

    def _finishes(self, view: View) -> bool:
        return self._takeovers >= self.options.takeovers or view.elapsed > self.options.late


def disagreement(proposed: FloatArray, action: FloatArray, full: FloatArray) -> float:
    """0 to 1: the worse gripper's mean share of `full` (axes of one gripper,) between two actions (A,)."""
    share = np.abs(proposed - action).reshape(-1, len(full)) / full
    return float(np.minimum(share, 1).mean(axis=1).max())
