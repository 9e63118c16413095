"""Work that falls into independent pieces, spread over processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
PIECES_PER_PROCESS = 4  # so that nobody waits long for the last one


def spread(
    work: Callable[[Job], Result], jobs: Sequence[Job], processes: int | None = None, preload: Sequence[str] = ()
) -> Iterator[Result]:
    """`work` of every job, as they are done, in at most as many processes as there are cores; raises what it raises.

    With one process it is done here. `work` and the jobs must be picklable. `preload` are modules that all processes
    need: they are imported once.
    """
    count = min(processes or cores(), cores(), len(jobs))
    if count <= 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__, *preload])
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pieces(jobs: Sequence[Job], processes: int | None) -> list[Sequence[Job]]:
    """The jobs cut into runs, some per process."""
    size = max(1, len(jobs) // (PIECES_PER_PROCESS * min(processes or cores(), cores())))
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]
