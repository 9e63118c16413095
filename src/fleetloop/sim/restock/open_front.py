"""How experts use furniture that is open towards the robot: line up before it, go straight in, come straight out."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fleetloop.sim.expert import CLOSE, OPEN
from fleetloop.sim.restock.expert import RestockExpert
from fleetloop.sim.restock.furniture import TRAY_BACK
from fleetloop.sim.restock.scene import RestockScene

Array = npt.NDArray[np.float64]

HOVER = 0.02  # metres between an item's bottom and the board while it goes in or out
OVER_TRAY = 0.13  # an item's bottom clears the other items there
OFF_SIDE, OFF_LOW, OFF_HIGH = 0.025, 0.016, 0.03  # metres off the slot's middle and level at which an item goes in
STANDOFF = 0.09  # metres before the furniture's front where items and hands line up

S = TypeVar("S", bound=RestockScene)


class OpenFrontExpert(RestockExpert[S]):
    """Carries the target in through the furniture's open front, and takes it out the same way."""

    def look(self) -> None:
        super().look()
        self.gate = self.scene.front - STANDOFF
        floors = [slot.floor for slot in self.scene.slots if slot.floor < self.bottom + HOVER]
        self.support = max(floors, default=0.0)

    def ready_to_release(self) -> bool:
        x, y, _ = self.item
        centred = abs(x - self.slot.x) < 0.03 and abs(y - self.slot.y) < 0.03
        return self.placed and (centred or not any(self.held))

    def leave(self, hand: int) -> Array:
        x, y, z, _ = self.pose[hand]
        if y > self.gate:
            return self.go(hand, (x, self.gate - 0.05, z))
        return self.park(hand)

    def carry(self, hand: int) -> Array:
        x, y, z, _ = self.pose[hand]
        grip_x, grip_y, grip_z = x - self.item[0], y - self.item[1], z - self.bottom
        level = self.slot.floor + HOVER
        off_x, off_z = abs(self.item[0] - self.slot.x), abs(self.bottom - level)
        inside = self.item[1] > self.gate + 0.03
        if inside and (off_x > 0.05 or off_z > 0.06):
            return self.go(hand, (x, self.gate + grip_y, self.support + HOVER + grip_z), yaw=0.0, grip=CLOSE)
        if self.item[1] < TRAY_BACK + 0.02 and self.bottom < OVER_TRAY - 0.03:
            return self.go(hand, (x, y, OVER_TRAY + grip_z), yaw=0.0, grip=CLOSE)
        goal_x = self.slot.x + grip_x
        aligned = self.aligned(off_x, self.bottom - level)
        if not inside and aligned < 1:
            low = OVER_TRAY if self.item[1] < TRAY_BACK + 0.02 else 0.0
            before = self.gate - 0.01
            goal_y = before + aligned * (self.slot.y - before)
            return self.go(hand, (goal_x, goal_y + grip_y, max(level, low) + grip_z), yaw=0.0, grip=CLOSE)
        arrived = abs(self.item[1] - self.slot.y) < 0.035
        bottom = self.slot.floor - 0.004 if arrived else level
        return self.go(hand, (goal_x, self.slot.y + grip_y, bottom + grip_z), yaw=0.0, grip=CLOSE)

    def aligned(self, off_x: float, too_high: float) -> float:
        """1 before the slot: straight in; 0: stay before it. In between it grows without a step, which a policy that
        is a little off could not tell from its other side."""
        worst = max(off_x / OFF_SIDE, -too_high / OFF_LOW, too_high / OFF_HIGH)
        return min(max(2 - worst, 0.0), 1.0)

    def reach(self, hand: int) -> Array:
        x, y, z, _ = self.pose[hand]
        if self.item[1] > self.gate + 0.04:
            return self.reach_inside(hand)
        if y > self.gate + 0.04:
            return self.go(hand, (x, self.gate, z))
        return super().reach(hand)

    def reach_inside(self, hand: int) -> Array:
        """Line up in front of the compartment, go in, close."""
        x, y, z, _ = self.pose[hand]
        goal_x, goal_y, goal_z = self.item[0], self.item[1], self.grasp_height()
        off_x, off_z = abs(x - goal_x), abs(z - goal_z)
        if off_x > 0.025 or off_z > 0.03:
            outside = self.gate - 0.02
            if y > outside + 0.05:
                return self.go(hand, (x, outside, z))
            return self.travel(hand, (goal_x, outside, goal_z), yaw=0.0)
        near = abs(y - goal_y) < 0.018
        return self.go(hand, (goal_x, goal_y, goal_z), yaw=0.0, grip=CLOSE if near else OPEN)
