"""What the keys of a terminal mean to an operator: the table `KEYS`, and what comes of pressing them.

Nothing here touches a terminal or a robot.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from fleetloop.core.frame import FloatArray

X, Y, Z, YAW, GRIP = range(5)


class Wish(Enum):
    """What the person wants of the episode. SUCCESS and FAILURE end it."""

    WATCH = auto()
    DRIVE = auto()
    SUCCESS = auto()
    FAILURE = auto()


class Toggle(Enum):
    """GRIP opens or closes the gripper under control, HAND turns to the next one."""

    GRIP = auto()
    HAND = auto()


@dataclass(frozen=True)
class Step:
    """Move the gripper under control by one step along X, Y, Z or YAW; `sign` is 1 or -1."""

    axis: int
    sign: int


KEYS: Mapping[str, Step | Toggle | Wish] = {
    "d": Step(X, 1),
    "a": Step(X, -1),
    "w": Step(Y, 1),
    "s": Step(Y, -1),
    "right": Step(X, 1),
    "left": Step(X, -1),
    "up": Step(Y, 1),
    "down": Step(Y, -1),
    "r": Step(Z, 1),
    "f": Step(Z, -1),
    "q": Step(YAW, 1),
    "e": Step(YAW, -1),
    "space": Toggle.GRIP,
    "tab": Toggle.HAND,
    "t": Wish.DRIVE,
    "b": Wish.WATCH,
    "y": Wish.SUCCESS,
    "n": Wish.FAILURE,
}

_NAMED = {b" ": "space", b"\t": "tab", b"A": "up", b"B": "down", b"C": "right", b"D": "left"}
# An arrow, any other escape sequence, the beginning of one whose end has not been read yet, or a character.
_TOKEN = re.compile(
    rb"\x1b[\[O](?P<arrow>[A-D])|\x1b[\[O][0-9;]*[@-~]|(?P<unfinished>\x1b(?:[\[O][0-9;]*)?$)|(?P<key>.)", re.DOTALL
)


def decode(typed: bytes) -> tuple[list[str], bytes]:
    """The names of the keys in what a terminal sent, and the unfinished escape sequence at its end.

    Arrows, `space`, `tab` and the letters a to z, in lower case; any other key is left out.
    """
    names: list[str] = []
    for token in _TOKEN.finditer(typed):
        if token["unfinished"]:
            return names, token["unfinished"]
        key = token["arrow"] or token["key"] or b""
        if token["arrow"] or key in (b" ", b"\t"):
            names.append(_NAMED[key])
        elif key.isalpha():
            names.append(key.decode().lower())
    return names, b""


@dataclass(frozen=True)
class Steps:
    """What one press of a key moves, and how far ahead of the gripper set-points may run: metres and radians."""

    metres: float
    radians: float
    lead_metres: float
    lead_radians: float


@dataclass(frozen=True)
class Stance:
    """What the person has come to with the keys pressed so far.

    Attributes:
        setpoints: (hands, 5) x, y, z (m), yaw (rad), grip (> 0 closes), absolute.
        hand: the gripper under control.
    """

    setpoints: FloatArray
    hand: int = 0
    wish: Wish = Wish.WATCH

    def press(self, key: str, steps: Steps) -> "Stance":
        """What comes of one more key; keys without a meaning change nothing. Grippers move only for a DRIVE."""
        meaning = KEYS.get(key)
        if isinstance(meaning, Wish):
            return replace(self, wish=meaning)
        if meaning is Toggle.HAND:
            return replace(self, hand=(self.hand + 1) % len(self.setpoints))
        if meaning is None or self.wish is not Wish.DRIVE:
            return self
        setpoints = self.setpoints.copy()
        if isinstance(meaning, Step):
            setpoints[self.hand, meaning.axis] += meaning.sign * (
                steps.radians if meaning.axis == YAW else steps.metres
            )
        else:
            setpoints[self.hand, GRIP] *= -1
        return replace(self, setpoints=setpoints)

    def leashed(self, measured: FloatArray, steps: Steps) -> "Stance":
        """The same, with no set-point further from the (hands, 5) measured poses than the lead.

        A blocked gripper is then pushed with bounded force, and answers a key in the other direction at once.
        """
        lead = np.array([steps.lead_metres] * 3 + [steps.lead_radians], np.float32)
        ahead = self.setpoints - measured
        ahead[:, YAW] = (ahead[:, YAW] + math.pi) % (2 * math.pi) - math.pi
        setpoints = self.setpoints.copy()
        setpoints[:, :GRIP] = measured[:, :GRIP] + np.clip(ahead[:, :GRIP], -lead, lead)
        return replace(self, setpoints=setpoints)
