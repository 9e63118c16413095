"""Fetching ahead: the next blobs are on their way while one is decoded."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, *, most: int
) -> Iterator[Iterator[Result]]:
    """`map(work, items)`, in so many threads, beginning at once; up to `most` results are not there yet or not taken.

    Without threads each begins when it is asked for, in the thread that asks. Raises what a call raised, in its turn.
    """
    if threads == 0:
        yield map(work, items)
        return
    pool, left = ThreadPoolExecutor(threads, "ahead"), iter(items)
    waiting = deque(pool.submit(work, item) for item in islice(left, most))

    def results() -> Iterator[Result]:
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(left, 1))
            yield result

    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)
