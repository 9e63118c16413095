"""The scripted expert of the laundry: back corners onto the mark, front corners over onto them, then smooth.

Each gripper has its side: the left one takes left corners. What to do follows from which points the grippers hold, and,
while they hold none, from where the corners lie.
"""

import numpy as np
import numpy.typing as npt

from fleetloop.sim.expert import CLOSE, OPEN, Expert
from fleetloop.sim.laundry import FoldScene
from fleetloop.sim.laundry_cloth import (
    BACK_LEFT,
    BACK_RIGHT,
    FRONT_LEFT,
    FRONT_RIGHT,
    LEFT_EDGE,
    REACH,
    RIGHT_EDGE,
    SIDE,
    TIP,
)

Array = npt.NDArray[np.float64]

FRONT = np.array([FRONT_LEFT, FRONT_RIGHT])
BACK = np.array([BACK_LEFT, BACK_RIGHT])
CREASE = np.array([LEFT_EDGE, RIGHT_EDGE])  # where the folded cloth's crease ends
SIDES = np.array([[-1.0], [1.0]])

PLACED = 0.015  # metres from a point to its place: let go
MISPLACED = 0.035  # metres from a back corner to its place: take it up
FOLDED = 0.018  # metres from a front corner to its back corner: let go
UNFOLDED = 0.035  # metres: fold again
SLACK = 0.97  # points are placed a little closer than the cloth is wide: taut, it tears from a gripper
NEAR = 0.014  # metres, across, from a gripper to the point it is about to take
TOUCHING = 0.016  # metres above it
HOVER = 0.05  # metres above the table between two grasps
LOW = 0.012  # metres above the table, at which a dragged point moves
LIFT = 0.07  # metres above that, for what is far from its place: low, a folded corner can't turn over
LET_GO_HEIGHT = 0.03  # metres above the table


class FoldExpert(Expert[FoldScene]):
    """Folds the cloth on the mark."""

    def action(self) -> Array:
        self._look()
        return super().action()

    def decide(self) -> Array:
        held = self._held
        if (held == FRONT).any():
            return self._fold()
        if (held == BACK).any():
            return self._place()
        if (held == CREASE).any():
            return self._smooth()
        if self._apart.max() < UNFOLDED:
            done = self.scene.folded() and self.scene.on_mark()
            return self._leave() if done else self._smooth()
        return self._place() if self._misplaced.max() > MISPLACED else self._fold()

    def progress(self) -> float:
        return -10 * float(self._misplaced.max() + self._apart.max()) + float((self._held >= 0).sum())

    def _look(self) -> None:
        scene = self.scene
        self._points = scene.cloth.vertices()
        self._held = scene.grasps.vertex
        self._hand = scene.hands.pose()[:, :3]
        along = np.array([np.cos(scene.mark_yaw), np.sin(scene.mark_yaw)])
        self._away = np.array([-along[1], along[0]])
        self._ends = scene.mark + SIDES * along * (SLACK * SIDE / 2)
        self._back_places = self._ends + self._away * (SIDE / 4)
        self._way = (self._points[BACK] - self._points[FRONT])[:, :2]
        self._apart = np.linalg.norm(self._way, axis=1)
        self._misplaced = np.linalg.norm(self._back_places - self._points[BACK, :2], axis=1)

    # ------------------------------------------------------------------ stages

    def _place(self) -> Array:
        """Back corners to the mark's back corners."""
        return self._drag(BACK, self._back_places)

    def _smooth(self) -> Array:
        """The crease's ends to the mark's front corners: folding pushes the cloth back and may leave it short."""
        return self._drag(CREASE, self._ends - self._away * (SIDE / 4))

    def _fold(self) -> Array:
        """Front corners over onto the back corners."""
        if not (self._held == FRONT).all():
            return self._grasp(FRONT)
        low = self._hand[:, 2].max() < self.scene.surface + LET_GO_HEIGHT
        grip = OPEN if low and self._apart.max() < FOLDED else CLOSE
        return np.stack([self._arc(hand, grip) for hand in (0, 1)])

    def _leave(self) -> Array:
        return np.stack([self._up(hand) for hand in (0, 1)])

    # ------------------------------------------------------------------ motions

    def _drag(self, wanted: npt.NDArray[np.int_], places: Array) -> Array:
        """Take the wanted points and bring them to their places (2, 2), lifting what is far from its place."""
        if not (self._held == wanted).all():
            return self._grasp(wanted)
        distance = np.linalg.norm(places - self._points[wanted, :2], axis=1)
        grip = OPEN if distance.max() < PLACED else CLOSE
        heights = self.scene.surface + LOW + np.clip(distance - PLACED, 0, LIFT)
        return np.stack([self.go(hand, (*places[hand], heights[hand]), yaw=0.0, grip=grip) for hand in (0, 1)])

    def _arc(self, hand: int, grip: float) -> Array:
        """Carry a front corner over in an arc, 10 cm high at most: its height depends on the distance that is left."""
        left = self._apart[hand]
        height = max(min(0.55 * left, 0.04 + 0.8 * (SIDE - left)), LOW)
        position = self._hand[hand]
        steep = height > position[2] - self.scene.surface + 0.02
        step = min(1.0, (0.008 if steep else 0.04) / (left + 1e-6))
        target = (*(position[:2] + self._way[hand] * step), self.scene.surface + height)
        return self.go(hand, target, yaw=0.0, grip=grip, speed=0.8)

    def _grasp(self, wanted: npt.NDArray[np.int_]) -> Array:
        """Come down on both wanted points as through funnels; close when both grippers are there."""
        points = self._points[wanted]
        distance = np.linalg.norm((points - self._hand)[:, :2], axis=1)
        held = self._held == wanted
        # A gripper that is closing goes on closing while the point is in reach.
        closing = (self.scene.hands.grip > 0) & (np.linalg.norm(points - self._hand - (0, 0, TIP), axis=1) < REACH)
        near = closing | (distance < NEAR) & (self._hand[:, 2] < points[:, 2] + TOUCHING)
        grip = CLOSE if (held | near).all() else OPEN
        actions = []
        for hand in (0, 1):
            if held[hand]:
                actions.append(self.go(hand, self.scene.hands.setpoint[hand, :3], yaw=0.0, grip=CLOSE))
            elif self._held[hand] >= 0:
                actions.append(self._up(hand))
            else:
                above = min(max(distance[hand] - NEAR, 0), HOVER) - TIP
                actions.append(self.go(hand, points[hand] + (0, 0, above), yaw=0.0, grip=grip))
        return np.stack(actions)

    def _up(self, hand: int) -> Array:
        x, y, _ = self._hand[hand]
        return self.go(hand, (x, y, self.scene.hands.home[hand, 2]), yaw=0.0, grip=OPEN)
