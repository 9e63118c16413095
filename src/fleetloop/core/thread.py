"""A thread that can't die in silence. Only the edges of the process (`*/run.py`) start any."""

import threading
from collections.abc import Callable


class LoudThread(threading.Thread):
    """Runs `work` once. However it ends, `ended` is set; what it raised is raised again by `settle`.

    It never keeps the process alive: whatever it does must survive being cut off, as it must survive kill -9.
    """

    def __init__(self, name: str, work: Callable[[], None], ended: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._ended = work, ended
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 -- raised again in the main thread, by `settle`
            self._error = error
        finally:
            self._ended.set()

    def settle(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` real seconds for the end, then raise what the work raised, if anything."""
        self.join(timeout_s)
        if self._error is not None:
            raise self._error
