"""Waking those who wait for something new, without polling."""

from collections.abc import Callable
from threading import Condition
from typing import TypeVar

Found = TypeVar("Found")
"""What is looked for; false while there is nothing."""


class Bell:
    """Rung after a commit. Threads wait with `first`; an event loop has itself called with `listen`."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._listeners: list[Callable[[], None]] = []

    def ring(self) -> None:
        """Wake everybody. Call it after the commit, never before."""
        with self._condition:
            self._condition.notify_all()
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called at every ring, in the ringing thread. Returns what ends it."""
        with self._condition:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def first(self, look: Callable[[], Found], wait_s: float) -> Found:
        """What `look` finds now, or after some ring within `wait_s` real seconds; else what it says at their end."""
        if wait_s <= 0:
            return look()
        with self._condition:  # held while looking, so that no ring falls between the look and the wait
            return self._condition.wait_for(look, wait_s)
