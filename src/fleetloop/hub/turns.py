"""One at a time for each name, any number of names at once."""

from threading import Lock


class Turns:
    """Locks by name. Two names may share one: nobody may hold two."""

    def __init__(self, count: int = 64) -> None:
        self._locks = [Lock() for _ in range(count)]

    def __getitem__(self, name: str) -> Lock:
        return self._locks[hash(name) % len(self._locks)]
