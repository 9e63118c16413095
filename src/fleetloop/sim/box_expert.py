"""The box's expert: each gripper pushes the panels of its own two sides shut, walls first, major flaps last.

The left gripper has the left and front sides, the right one the right and back sides. What a gripper does depends on
where it is relative to the panel that it is to close next, and on nothing else.
"""

import numpy as np
import numpy.typing as npt

from fleetloop.sim.box import (
    BACK_SIDE,
    FLAP_CLOSED,
    FRONT_SIDE,
    LEFT_SIDE,
    RIGHT_SIDE,
    SIDES,
    WALL_HEIGHT,
    BoxScene,
)
from fleetloop.sim.expert import CLOSE, Expert

Array = npt.NDArray[np.float64]

SIDES_OF_HAND = ((LEFT_SIDE, FRONT_SIDE), (RIGHT_SIDE, BACK_SIDE))
# Radians by hinge: well past the latch, so that whoever lets go a moment too soon has closed it all the same. A major
# flap lies on the minor ones and gets no further.
PUSHED = np.array([1.54, 1.54, 1.54, 1.54, 1.54, 1.54, 1.505, 1.505])

PAD_REACH = 0.01  # metres that the pads reach below a gripper's position
# Metres above the board, for a gripper's position. A wall's tip is never lower than 0.028: pushed from above it, the
# wall would only be pressed onto its stop.
WALL_PUSH = 0.020
FLAP_PUSH = WALL_HEIGHT + 0.034
FLAP_PRESS = WALL_HEIGHT - 0.016  # well below where the flap latches: whoever imitates this presses less deep
TRAVEL_MARGIN = 0.03

WALL_STANDOFF = 0.045  # metres from the panel's tip to where a push begins
FLAP_STANDOFF = 0.05  # metres from the crease
LANE = 0.032  # metres that a push may be off the panel's middle
FUNNEL_RADIUS, FUNNEL_SLOPE = 0.03, 2.0
PUSH_SPEED = 0.8
SAG, SAG_LIMIT = 0.01, 0.04  # metres below the wanted height at which a gripper slows down, and stands, to rise
AHEAD = 0.08  # metres that a gripper looks ahead at full speed
RAISED = 1.0  # radians: a wall that a gripper can't pass through
LEANING = 0.5  # radians: a flap that leans in so far is closed from above


class BoxExpert(Expert[BoxScene]):
    """Raises the walls, and closes the flaps where there are any."""

    def progress(self) -> float:
        angles = self.scene.angles()
        return float(np.minimum(angles, PUSHED[: len(angles)]).sum())

    def back_off(self, hand: int) -> Array:
        action = super().back_off(hand)
        action[4] = CLOSE
        return action

    def decide(self) -> Array:
        self._angles = self.scene.angles()
        self._hands = self.scene.hands.pose()
        self._yaw = self.scene.base_pose()[2]
        self._hinges = self.scene.hinge_positions()
        tallest = max(side.flap for side in SIDES) if len(self._angles) > 4 else 0.0
        self._travel = WALL_HEIGHT + tallest + TRAVEL_MARGIN
        return np.stack([self._act(hand) for hand in (0, 1)])

    def _act(self, hand: int) -> Array:
        for hinge in self._order(hand):
            if self._angles[hinge] < PUSHED[hinge]:
                return self._push_wall(hand, hinge) if hinge < 4 else self._push_flap(hand, hinge)
        home = self.scene.hands.home[hand]
        return self._approach(hand, home[:2], home[2] - self.scene.board, over_panel=False)

    def _order(self, hand: int) -> list[int]:
        """The hinges that this gripper closes, in order."""
        walls = list(SIDES_OF_HAND[hand])
        return walls + [4 + side for side in walls] if len(self._angles) > 4 else walls

    def _outward(self, side: int) -> Array:
        angle = SIDES[side].outward + self._yaw
        return np.array([np.cos(angle), np.sin(angle)])

    def _offset(self, hand: int, hinge: int, outward: Array) -> tuple[float, float, float]:
        """Metres from the crease to the gripper: outward, along the crease; and above the board."""
        x, y = self._hands[hand, :2] - self._hinges[hinge, :2]
        along = float(y * outward[0] - x * outward[1])
        return float(x * outward[0] + y * outward[1]), along, float(self._hands[hand, 2] - self.scene.board)

    def _push_wall(self, hand: int, wall: int) -> Array:
        outward, crease = self._outward(wall), self._hinges[wall, :2]
        out, along, height = self._offset(hand, wall, outward)
        under_the_tip = WALL_HEIGHT * np.sin(self._angles[wall]) + PAD_REACH
        if abs(along) < LANE and out > 0 and height < min(WALL_PUSH + 0.03, under_the_tip):
            return self._go(hand, crease, WALL_PUSH, PUSH_SPEED)
        reach = self._reach(wall)
        edge = reach if height > WALL_HEIGHT - PAD_REACH else 0.0  # above the wall its flap is in the way
        behind = self._angles[wall] > RAISED and out < edge + 0.01
        return self._approach(hand, crease + outward * (reach + WALL_STANDOFF), WALL_PUSH, over_panel=behind)

    def _reach(self, wall: int) -> float:
        """How far the wall, with its flap, sticks out from its crease, in metres."""
        angle = self._angles[wall]
        reach = WALL_HEIGHT * np.cos(angle)
        if len(self._angles) > 4:
            reach = max(reach, reach + SIDES[wall].flap * np.cos(angle + self._angles[4 + wall]))
        return float(reach)

    def _push_flap(self, hand: int, flap: int) -> Array:
        side = flap - 4
        outward, crease = self._outward(side), self._hinges[flap, :2]
        out, along, height = self._offset(hand, flap, outward)
        end = -0.65 * SIDES[side].flap
        outside = out > -max(height - WALL_HEIGHT, 0.0) * np.tan(np.clip(self._angles[flap], 0, 1.3)) - 0.01
        low = height < FLAP_PUSH + 0.025 or self._angles[flap] > LEANING
        if abs(along) < LANE and outside and low and self._may_close(side):
            share = np.clip((out - end) / (0.02 - end), 0, 1)
            level = FLAP_PRESS + (FLAP_PUSH - FLAP_PRESS) * share
            beyond = FUNNEL_SLOPE * max(end - FUNNEL_RADIUS - out, 0.0)  # past the flap's edge: back over it first
            return self._go(hand, crease + outward * end, level + beyond, PUSH_SPEED)
        return self._approach(hand, crease + outward * FLAP_STANDOFF, FLAP_PUSH, over_panel=not outside)

    def _may_close(self, side: int) -> bool:
        minors = self._angles[[4 + LEFT_SIDE, 4 + RIGHT_SIDE]]
        return SIDES[side].minor or bool((minors > FLAP_CLOSED).all())

    def _approach(self, hand: int, target: Array, height: float, *, over_panel: bool) -> Array:
        """Rise over what stands in between, go across, and come down as through a funnel.

        With `over_panel` the very panel that is to be pushed stands in between, and the funnel is no guide.
        """
        distance = float(np.hypot(*(target - self._hands[hand, :2])))
        over = height + FUNNEL_SLOPE * max(distance - FUNNEL_RADIUS, 0.0)
        over = self._travel if over_panel else min(over, max(self._travel, height))
        sag = over - (self._hands[hand, 2] - self.scene.board)
        share = np.clip((SAG_LIMIT - sag) / (SAG_LIMIT - SAG), 0, 1)  # no step in it: a policy can't learn where it is
        ahead = (target - self._hands[hand, :2]) * min(1.0, AHEAD * share / (distance + 1e-6))
        return self._go(hand, self._hands[hand, :2] + ahead, over, 1.0)

    def _go(self, hand: int, target: Array, height: float, speed: float) -> Array:
        return self.go(hand, [*target, self.scene.board + height], yaw=self._yaw, grip=CLOSE, speed=speed)
