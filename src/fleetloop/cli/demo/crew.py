"""Worker processes for what a demo computes itself: recording, training the base and the control, evaluating.

They live as long as the demo, so that each imports torch once.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import ParamSpec, TypeVar

from fleetloop.core.errors import FleetLoopError
from fleetloop.lab.shards import cores

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
WORKERS = 2


class WorkerDied(FleetLoopError):
    """A worker process ended without an answer."""


class Crew:
    """Two workers, or one where there is one core. Jobs are begun in the order in which they are submitted."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(min(WORKERS, cores()), mp_context=context, initializer=_start_worker)

    def submit(
        self, job: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> "Future[Result]":
        return self._pool.submit(job, *args, **kwargs)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave no worker behind; after an error, whatever they are at is cut off."""
        if error is not None:
            for worker in multiprocessing.active_children():
                worker.terminate()
        self._pool.shutdown(cancel_futures=True)


def gather(futures: Sequence["Future[Result]"]) -> list[Result]:
    """The results in order. Raises what a job raised, WorkerDied if a worker was killed."""
    try:
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise WorkerDied("worker", "ended without an answer", "was it killed, or is memory short?") from error


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the demo ends its workers itself
    threading.Thread(target=_end_with_the_demo, name="end-with-the-demo", daemon=True).start()


def _end_with_the_demo() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    os._exit(1)
