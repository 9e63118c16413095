"""What many ask for at once, done in one go."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Together(Generic[Item, Result]):
    """Group commit: what is asked for while the work is under way is done by the next one, all of it together.

    Whoever comes while nobody works does so at once: nobody waits for a group to form. Safe to use from any number of
    threads, which is also how large a group can be.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result | Exception]]) -> None:
        """`work` answers every item in turn, with an exception where that one is refused; what it raises, all hear."""
        self._work = work
        self._working, self._lock = Lock(), Lock()
        self._waiting: list[tuple[Item, Future[Result]]] = []

    def do(self, item: Item) -> Result:
        """The item's result, once the work that it was part of is done. Raises what `work` says or raises."""
        future: Future[Result] = Future()
        with self._lock:
            self._waiting.append((item, future))
        with self._working:
            if not future.done():  # by whoever worked before
                self._do_all()
        return future.result()

    def _do_all(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        try:
            results = self._work([item for item, _ in group])
        except BaseException as error:  # noqa: BLE001  raised again, for each of them
            for _, future in group:
                future.set_exception(error)
            return
        for (_, future), result in zip(group, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
