"""The one observation layout that every simulated task shares.

`state` is privileged: it reads the simulator's poses, which no real robot has. It lists every entity of the scene
and never marks the one that is meant, so the instruction's words matter.

| feature  | shape    | what |
|----------|----------|------|
| hands    | (2, 8)   | per gripper: x y z (m), sin, cos of yaw, opening (m), grip command (-1, 1), holding (0/1) |
| entities | (12, 15) | per slot: position (m), x and z axis, half size (m), sin and cos of the hinge, closeness |
| mask     | (12,)    | 1 where the slot is used |
| names    | (12, 2)  | indices into `NAMES`: what the entity is called, e.g. ("upper", "left") or ("milk", "") |
| named    | (12,)    | a *label*, never a policy's input: 1 = the object, 2 = the goal that the instruction speaks of |

`closeness` is tanh((angle - latch angle) / 0.08), the latch angle being that at which it stays closed: a hinge that is
nearly closed and one that is closed differ by a few hundredths of a radian, which normalised angles hide. It is 0 for
what has no hinge.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

HAND_FIELDS = 8
SLOTS = 12
FIELDS = 15
POSITION, X_AXIS, Z_AXIS, HALF_SIZE = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)
HINGE_SIN, HINGE_COS, CLOSENESS = 12, 13, 14

HAND_NAMES = ("x", "y", "z", "sin_yaw", "cos_yaw", "opening", "grip", "holding")
ENTITY_FIELDS = (
    "x", "y", "z",
    "x_axis_x", "x_axis_y", "x_axis_z",
    "z_axis_x", "z_axis_y", "z_axis_z",
    "half_x", "half_y", "half_z",
    "sin_hinge", "cos_hinge", "closeness",
)  # fmt: skip

OBJECT, GOAL = 1, 2

ITEM_NAMES = (
    "cereal", "soup", "milk", "soap", "juice", "chocolate", "coffee", "tea", "rice", "pasta", "beans", "salt",
)  # fmt: skip
NAMES = (
    "",
    *ITEM_NAMES,
    "upper", "lower", "left", "right", "middle", "front", "back",
    "shelf", "freezer", "cooler", "door", "handle",
    "cloth", "corner", "edge", "centre", "mark",
    "box", "wall", "flap", "base",
)  # fmt: skip
NAME_INDEX = {name: index for index, name in enumerate(NAMES)}


@dataclass
class EntityTable:
    """The entities of one scene: constant columns are written at reset, moving ones at every observation."""

    values: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((SLOTS, FIELDS), np.float32))
    mask: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(SLOTS, np.float32))
    names: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros((SLOTS, 2), np.int32))
    named: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(SLOTS, np.int32))

    def clear(self) -> None:
        self.values[:] = 0
        self.values[:, X_AXIS.start] = 1
        self.values[:, Z_AXIS.stop - 1] = 1
        self.mask[:] = 0
        self.names[:] = 0
        self.named[:] = 0

    def use(self, slot: int, name: str, second: str = "", *, named: int = 0) -> None:
        """Mark `slot` as used by the entity called `name second`; `named` is 0, OBJECT or GOAL."""
        self.mask[slot] = 1
        self.names[slot] = NAME_INDEX[name], NAME_INDEX[second]
        self.named[slot] = named
