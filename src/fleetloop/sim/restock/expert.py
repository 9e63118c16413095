"""The expert that the restock tasks share: reach for the target, carry it into its slot, let go, leave.

Every choice follows from what is visible: where the target is, which hand holds it, where the hands are.
"""

from abc import abstractmethod
from collections.abc import Sequence
from math import atan2, dist, hypot, pi
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fleetloop.sim.expert import CLOSE, OPEN, Expert
from fleetloop.sim.hands import LEFT, RIGHT
from fleetloop.sim.restock.furniture import TRAY_BACK
from fleetloop.sim.restock.scene import RestockScene

Array = npt.NDArray[np.float64]
S = TypeVar("S", bound=RestockScene)

TALLEST = 0.12  # metres: a hand on its way to a low item passes over the tall ones
ABOVE = 0.03  # metres from what it passes over to the hand's origin (its pads reach 1 cm lower)
FUNNEL_RADIUS = 0.014  # metres off the item's axis within which a hand may go all the way down
FUNNEL_SLOPE = 4.0
NEAR = 0.03  # metres off the axis from which a low hand rises before it moves sideways
SQUARE = 0.005  # metres: a box whose sides differ by less is grasped either way
LOWEST_GRASP = 0.013
RIM_CLEARANCE = 0.06  # metres: a lower hand that pushes against the rim sticks to it by friction
OPENED = 0.085  # metres between the pads of a hand that has let go


class RestockExpert(Expert[S]):
    """Picks the target up from above; subclasses say how it is carried and what else is to be done."""

    patience = 40  # ticks: two retries fit into the time limits, and no undisturbed stage stands still for so long

    def action(self) -> Array:
        self.look()
        return super().action()

    def decide(self) -> Array:
        if self.ready_to_release():
            return np.stack([self.release(LEFT), self.release(RIGHT)])
        actions = [self.leave(LEFT), self.leave(RIGHT)]
        hand = self.choose_hand()
        actions[hand] = self.carry(hand) if self.held[hand] else self.reach(hand)
        return np.stack(actions)

    def look(self) -> None:
        """Read the scene once per tick."""
        scene = self.scene
        self.item: list[float] = scene.items.position(scene.target).tolist()
        self.extent = scene.items.vertical_extent(scene.target)
        self.bottom = self.item[2] - self.extent
        self.pose: list[list[float]] = scene.hands.pose().tolist()
        self.held = scene.held()
        self.slot = scene.slots[scene.goal]
        self.placed = scene.placed()
        self.opening: list[float] = scene.hands.opening().tolist()

    def choose_hand(self) -> int:
        """The hand that holds the target, else the one on the target's side."""
        if any(self.held):
            return self.held.index(True)
        return RIGHT if self.item[0] > 0 else LEFT

    @abstractmethod
    def ready_to_release(self) -> bool:
        """Whether the target is where it should be let go."""

    @abstractmethod
    def carry(self, hand: int) -> Array:
        """One tick of carrying the held target to its slot."""

    @abstractmethod
    def leave(self, hand: int) -> Array:
        """One tick of an open hand's way home, first out of the furniture."""

    def park(self, hand: int) -> Array:
        """Go home and stay there, open."""
        return self.travel(hand, self.scene.hands.home[hand].tolist(), yaw=0.0)

    def travel(self, hand: int, target: Sequence[float], yaw: float) -> Array:
        """Move an open hand over the table; one that is lower than the tray's rim rises first."""
        x, y, z, _ = self.pose[hand]
        if z < RIM_CLEARANCE and y < TRAY_BACK + RIM_CLEARANCE:
            return self.go(hand, (x, y, RIM_CLEARANCE + 0.05), yaw=yaw)
        return self.go(hand, target, yaw=yaw)

    def release(self, hand: int) -> Array:
        """Open where the hand is; once open, leave."""
        x, y, z, _ = self.pose[hand]
        at_item = hypot(x - self.item[0], y - self.item[1]) < 0.05 and abs(z - self.item[2]) < 0.10
        if at_item and (self.held[hand] or self.opening[hand] < OPENED):
            return self.go(hand, self.scene.hands.setpoint[hand, :3])
        return self.leave(hand)

    def reach(self, hand: int) -> Array:
        """Come down over the target and close."""
        x, y, z, yaw = self.pose[hand]
        grasp_z, grasp_yaw = self.grasp_height(), self.grasp_yaw()
        off_axis = hypot(x - self.item[0], y - self.item[1])
        above = max(self.item[2] + self.extent, TALLEST) + ABOVE
        if off_axis > NEAR and z < above - 0.02:
            return self.go(hand, (x, y, above), yaw=grasp_yaw)
        turned = abs(wrapped(grasp_yaw - yaw, pi)) < 0.2
        over = min(max(off_axis - FUNNEL_RADIUS, 0.0) * FUNNEL_SLOPE, above - grasp_z)
        target = (self.item[0], self.item[1], grasp_z + over if turned or z < grasp_z + 0.03 else above)
        at_grasp = z < grasp_z + 0.012 and off_axis < FUNNEL_RADIUS + 0.006
        return self.go(hand, target, yaw=grasp_yaw, grip=CLOSE if at_grasp else OPEN)

    def grasp_height(self) -> float:
        """The z at which the hand holds the target: a little above its centre."""
        return max(LOWEST_GRASP, self.item[2] + min(0.015, 0.3 * self.extent))

    def grasp_yaw(self) -> float:
        """The yaw that lays the fingers across the target's thinnest horizontal side."""
        scene = self.scene
        kind, axes = scene.items.types[scene.target], scene.items.rotation(scene.target)
        upright = abs(axes[2, 2]) > 0.7
        if kind.shape == "cylinder":
            return 0.0 if upright else wrapped(atan2(axes[1, 2], axes[0, 2]) + pi / 2, pi)
        vertical = int(np.abs(axes[2]).argmax())
        first, second = (axis for axis in range(3) if axis != vertical)
        half = kind.half_size
        if abs(half[first] - half[second]) < SQUARE:
            return wrapped(atan2(axes[1, first], axes[0, first]), pi / 2)
        thin = first if half[first] < half[second] else second
        return wrapped(atan2(axes[1, thin], axes[0, thin]), pi)

    def progress(self) -> float:
        to_slot = dist(self.item, (self.slot.x, self.slot.y, self.slot.floor))
        to_hand = min(dist(self.item, pose[:3]) for pose in self.pose)
        return 2.0 * self.placed - to_slot + (0.5 if any(self.held) else -to_hand)


def wrapped(angle: float, period: float) -> float:
    """`angle` brought into [-period / 2, period / 2)."""
    return float((angle + period / 2) % period - period / 2)
