"""The event queue of a virtual run: everything that happens, in one process and in one order."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from fleetloop.core.clock import Virtual

Call = Callable[[float], None]
"""What is to happen, told the clock's seconds at which it happens."""


class Agenda:
    """What is to happen when. Calls for the same instant are made in the order in which they were put down.

    Attributes:
        clock: shows the instant of the call under way. Nothing else moves it.
    """

    def __init__(self) -> None:
        self.clock = Virtual()
        self._numbers = count()
        self._entries: list[tuple[float, int, Call]] = []

    def at(self, due: float, call: Call) -> None:
        """Call it at `due` (clock seconds); now, if that has passed."""
        heappush(self._entries, (due, next(self._numbers), call))

    def every(self, period_s: float, call: Call, first: float) -> None:
        """Call it at `first` (clock seconds) and then once in a period."""

        def again(now: float) -> None:
            call(now)
            self.at(now + period_s, again)

        self.at(first, again)

    def run(self, until: float) -> None:
        """Let time pass to `until` (clock seconds). Raises what a call raises."""
        while self._entries and self._entries[0][0] < until:
            due, _, call = heappop(self._entries)
            self.clock.sleep_until(due)
            call(self.clock.now())
        self.clock.sleep_until(until)
