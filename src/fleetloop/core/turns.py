"""One at a time for each name, any number of names at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Turns:
    """A lock for every name that is asked for, and none for those that are not."""

    def __init__(self) -> None:
        self._taken = set[str]()
        self._changed = Condition()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Waits until nobody else has the turn of this name."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._taken)
            self._taken.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._taken.remove(name)
                self._changed.notify_all()
