"""What every scripted expert shares: moving a gripper, retrying after a miss, and noticing that it is stuck.

An expert reads the scene's true state (privileged). It decides anew at each tick, so that it recovers from whatever
happened; its only memory is counters, cleared by `reset`.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from fleetloop.sim.hands import STEP, YAW_STEP
from fleetloop.sim.scene import Scene

Array = npt.NDArray[np.float64]

OPEN, CLOSE = -1.0, 1.0


S = TypeVar("S", bound=Scene)


class Expert(ABC, Generic[S]):
    """Chooses (2, 5) absolute set-points for a scene, tick by tick.

    A stuck timer stands behind every expert: if for `patience` ticks neither `progress()` has improved nor the task
    ended, `unstick()` is called, which by default backs both grippers off to home and starts over.
    """

    patience = 60
    unstick_ticks = 20

    def __init__(self, scene: S) -> None:
        self.scene = scene
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._best = -np.inf
        self._idle = 0
        self._backing_off = 0

    @abstractmethod
    def decide(self) -> Array:
        """(2, 5): the set-points for the next tick, by the scene's present state."""

    @abstractmethod
    def progress(self) -> float:
        """A number that grows by at least 0.05 whenever the task has come closer to its end."""

    def action(self) -> Array:
        """(2, 5): the set-points for the next tick; `decide`, guarded by the stuck timer."""
        progress = self.progress()
        if progress > self._best + 0.05:
            self._best, self._idle = progress, 0
        else:
            self._idle += 1
        if self._idle > self.patience:
            self.unstick()
            self._best, self._idle, self._backing_off = -np.inf, 0, self.unstick_ticks
        if self._backing_off:
            self._backing_off -= 1
            return np.stack([self.back_off(hand) for hand in (0, 1)])
        return self.decide()

    def overruled(self) -> None:
        """Somebody else drove this tick: whoever is stuck, it is not this expert. What it advises stays a matter of
        the scene alone, so that corrections of the same scene agree."""
        self._best, self._idle, self._backing_off = -np.inf, 0, 0

    def unstick(self) -> None:
        """Clear the family's own counters and modes; called when nothing has improved for long."""

    def back_off(self, hand: int) -> Array:
        """Open, rise, then go home."""
        x, y, z = self.scene.hands.pose()[hand, :3]
        home = self.scene.hands.home[hand]
        if z < home[2] - 0.05:
            return self.go(hand, (x, y, home[2]), grip=OPEN)
        return self.go(hand, home, yaw=0.0, grip=OPEN)

    def go(
        self,
        hand: int,
        target: npt.ArrayLike,
        *,
        yaw: float | None = None,
        grip: float = OPEN,
        speed: float = 1.0,
    ) -> Array:
        """(5,): the set-point of `hand` one tick closer to `target` (m), `speed` x 3 cm a tick on the widest axis."""
        setpoint = self.scene.hands.setpoint[hand]
        error = np.asarray(target, float) - setpoint[:3]
        widest = np.abs(error).max()
        limit = STEP * speed
        if widest > limit:
            error *= limit / widest
        turn = 0.0 if yaw is None else float(np.clip(yaw - setpoint[3], -YAW_STEP, YAW_STEP))
        return np.array([*(setpoint[:3] + error), setpoint[3] + turn, grip])
