"""A place for one thing, where the newest replaces what was not taken yet: a bounded queue, latest wins."""

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Latest(Generic[Item]):
    """One slot, safe between threads. Nobody ever waits to put something in."""

    def __init__(self) -> None:
        self._filled = threading.Condition()
        self._item: Item | None = None
        self.replaced = 0

    def offer(self, item: Item) -> None:
        """Put `item` in; what was there and not taken is dropped and counted in `replaced`."""
        with self._filled:
            self.replaced += self._item is not None
            self._item = item
            self._filled.notify()

    def give_back(self, item: Item) -> None:
        """Put back what could not be dealt with, unless something newer came in the meantime."""
        with self._filled:
            if self._item is None:
                self._item = item
            else:
                self.replaced += 1

    def take(self, wait_s: float = 0.0) -> Item | None:
        """Take what is there; waits up to `wait_s` real seconds for it."""
        with self._filled:
            if self._item is None and wait_s > 0:
                self._filled.wait(wait_s)
            item, self._item = self._item, None
            return item
