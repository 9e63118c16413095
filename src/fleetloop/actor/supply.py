"""Whether the policy is quick enough for the robot that it drives."""

from collections import deque

from fleetloop.core.alarm import Alarms

PART = "inference"
WINDOW_S = 10.0
SHARE = 0.2
"""Of the ticks of a window: so many under the policy without an action of its are too many."""


class Supply:
    """Raises an alarm when a robot stands still for want of actions, until a whole window was without such a gap."""

    def __init__(self, control_hz: float, alarms: Alarms) -> None:
        self._hz, self._alarms = control_hz, alarms
        self._gaps: deque[bool] = deque(maxlen=max(1, round(WINDOW_S * control_hz)))
        self._count, self._told = 0, False

    def note(self, gap: bool, *, horizon: int, chunk_s: float) -> None:
        """Take in a tick under the policy.

        Args:
            gap: whether it had no action.
            horizon: ticks that a chunk reaches.
            chunk_s: clock seconds that the last one took.
        """
        if len(self._gaps) == self._gaps.maxlen:
            self._count -= self._gaps[0]
        self._gaps.append(gap)
        self._count += gap
        if self._told and self._count == 0:
            self._told = False
            self._alarms.clear(PART)
        elif not self._told and self._count >= SHARE * WINDOW_S * self._hz:
            self._told = True
            pace = f"a chunk takes {chunk_s * 1e3:.0f} ms, its horizon is {horizon / self._hz * 1e3:.0f} ms"
            gaps = f"{self._count} of the last {len(self._gaps)} ticks had no action, and the robot stood still"
            self._alarms.set(PART, f"{pace}: {gaps}")
