"""A person at the terminal who takes a robot over, drives its grippers by keys, hands back, and marks how it ended."""

from types import TracebackType
from typing import ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fleetloop.core.errors import SpecMismatch
from fleetloop.core.frame import Array, FloatArray
from fleetloop.core.operator import Drive, HandBack, Mark, View
from fleetloop.core.robot import Robot
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.operators.keys import GRIP, Stance, Steps, Wish, decode
from fleetloop.operators.person import MARKS
from fleetloop.operators.terminal import Terminal

HELP = (
    "t take over · b hand back · y success · n failure",
    "w a s d or arrows: x, y · r f: up, down · q e: turn · space: grip · tab: other gripper",
)
MEASURED = ("x", "y", "z", "sin_yaw", "cos_yaw", "grip")
INSTEAD = "the operator `marks` ends its episodes by keys, and drives nothing"


class KeyboardOptions(BaseModel):
    """How far a key moves a gripper."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_m: float = Field(0.01, gt=0, le=0.1, description="metres that one press of a key moves a set-point")
    step_rad: float = Field(0.1, gt=0, le=1.0, description="radians that one press of a key turns a set-point")
    lead_m: float = Field(0.05, gt=0, description="metres that a set-point may be ahead of the measured gripper")
    lead_rad: float = Field(0.3, gt=0, description="radians that a set-point may be ahead of the measured gripper")

    def steps(self) -> Steps:
        return Steps(self.step_m, self.step_rad, self.lead_m, self.lead_rad)


class KeyboardOperator:
    """Drives while the person wants to and the attention lease is held.

    For robots whose actions are absolute set-points (x, y, z, yaw, grip) of grippers that they measure as `hands`. The
    grip is closed or open; a takeover leaves every gripper where it is and as it is.

    Attributes:
        wants_attention: whether the person wants to drive.

    Args:
        robot: its specification names what stands where in `hands`.
        terminal: by default the one that this process was started in.

    Raises:
        SystemMissing: if there is no terminal.
        SpecMismatch: if the robot has other grippers or actions.
    """

    Options: ClassVar[type[KeyboardOptions]] = KeyboardOptions
    name = "keyboard"

    def __init__(self, options: KeyboardOptions, robot: Robot, terminal: Terminal | None = None) -> None:
        spec = robot.spec
        self._columns = _columns(spec)
        self._steps = options.steps()
        self._terminal = terminal or Terminal()
        self._instruction = self._shown = ""
        self._unfinished = b""
        hands = spec.action.shape[0] // (GRIP + 1)
        self._stance = Stance(np.zeros((hands, GRIP + 1), np.float32))
        self.wants_attention = False
        for line in HELP:
            self._terminal.say(line)

    def start(self, instruction: str) -> None:
        """A new episode: the policy drives. What was typed before it is forgotten: it was meant for the last one."""
        self._terminal.read()
        self._unfinished, self._instruction = b"", instruction
        self._stance = Stance(self._stance.setpoints, self._stance.hand)
        self.wants_attention = False

    def watch(self, view: View) -> Drive | HandBack | Mark | None:
        """Take in what was typed. Raises SystemMissing if the terminal is gone."""
        measured = self._measured(view.observation.state["hands"])
        if not view.driving:
            self._stance = Stance(measured, self._stance.hand, self._stance.wish)
        keys, self._unfinished = decode(self._unfinished + self._terminal.read())
        self._stance = self._stance.leashed(measured, self._steps)
        for key in keys:
            self._stance = self._stance.press(key, self._steps).leashed(measured, self._steps)
        self.wants_attention = self._stance.wish is Wish.DRIVE
        self._show(view)
        return self._say(view)

    def close(self) -> None:
        """Give the terminal back."""
        self._terminal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _say(self, view: View) -> Drive | HandBack | Mark | None:
        wish = self._stance.wish
        if wish is Wish.WATCH:
            return HandBack() if view.driving else None
        if wish is not Wish.DRIVE:
            return MARKS[wish]
        return Drive(self._stance.setpoints.flatten()) if view.attention else None

    def _measured(self, hands: Array) -> FloatArray:
        """(hands, 5) the grippers as set-points that would leave them where they are."""
        x, y, z, sin, cos, grip = (hands[:, column] for column in self._columns)
        return np.stack([x, y, z, np.arctan2(sin, cos), np.where(grip > 0, 1, -1)], axis=1).astype(np.float32)

    def _show(self, view: View) -> None:
        line = f"{view.elapsed:4.0%} · {self._situation(view)} · {self._instruction}"
        if line != self._shown:
            self._shown = line
            self._terminal.show(line)

    def _situation(self, view: View) -> str:
        wish, hand = self._stance.wish, self._stance.hand
        if wish is Wish.WATCH:
            return "the policy drives; t takes over"
        if wish is not Wish.DRIVE:
            return f"marked {MARKS[wish].outcome}"
        if not view.attention:
            return "waits for attention; b lets it be"
        closed = self._stance.setpoints[hand, GRIP] > 0
        return f"you drive gripper {hand + 1}, {'closed' if closed else 'open'}"


def _columns(spec: RobotSpec) -> list[int]:
    """Where in `hands` the measured values stand. Raises SpecMismatch."""
    hands = next((feature for feature in spec.state if feature.name == "hands"), FeatureSpec("hands", ()))
    needed = f"the keyboard drives grippers measured as `hands` (n, …) with {', '.join(MEASURED)}"
    if len(hands.shape) != 2 or not set(MEASURED) <= set(hands.fields):
        raise SpecMismatch("hands", f"{needed}; the robot offers {', '.join(hands.fields) or 'none'}", INSTEAD)
    if spec.action.shape != (hands.shape[0] * (GRIP + 1),):
        wanted = f"[{hands.shape[0] * (GRIP + 1)}]: x, y, z, yaw, grip of each gripper"
        given = f"the keyboard sends {wanted}; the robot takes {list(spec.action.shape)}"
        raise SpecMismatch(spec.action.name, given, INSTEAD)
    return [hands.fields.index(name) for name in MEASURED]
