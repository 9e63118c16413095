"""Work that falls into independent pieces, spread over processes."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
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
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, forking((work.__module__, *preload))) as pool:
        try:
            with _uninterrupted():  # else processes are on their way that nobody waits for
                futures = [pool.submit(work, job) for job in jobs]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # nobody wants the rest
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise


def forking(preload: Sequence[str]) -> ForkServerContext:
    """Processes that are forked from one that has imported these modules.

    Ctrl-C reaches all of a terminal's processes. That one and its children don't hear it, whoever started them ends
    them: each would show a traceback, from amid an import.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    resource_tracker.ensure_running()  # now, as it ends with the signal unblocked
    with _uninterrupted():
        forkserver.ensure_running()
    return context


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C comes afterwards. Processes that are begun meanwhile don't hear it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pieces(jobs: Sequence[Job], processes: int | None) -> list[Sequence[Job]]:
    """The jobs cut into runs, some per process."""
    size = max(1, len(jobs) // (PIECES_PER_PROCESS * min(processes or cores(), cores())))
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]
