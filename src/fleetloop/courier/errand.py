"""Work that may be called off: whoever waits for it goes on at once, and the thread that does it ends when it can."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Errand(Generic[T]):
    """Begun when it is made. The work is handed a question that is to be asked as it goes on: whether to stop."""

    def __init__(self, work: Callable[[Callable[[], bool]], T]) -> None:
        self._off, self._done = Event(), Future[T]()
        Thread(target=self._run, args=(work,), name="errand", daemon=True).start()

    def is_over(self, within_s: float) -> bool:
        """Waits so many real seconds for it."""
        return bool(wait((self._done,), within_s).done)

    def call_off(self) -> None:
        """Callable from any thread."""
        self._off.set()

    def result(self) -> T:
        """What came of it, waited for. Raises what the work raised."""
        return self._done.result()

    def _run(self, work: Callable[[Callable[[], bool]], T]) -> None:
        try:
            self._done.set_result(work(self._off.is_set))
        except BaseException as error:  # noqa: BLE001  `result` raises it
            self._done.set_exception(error)
