"""Runs jobs over the cores, each in a process of its own: one that dies loses nothing but itself."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType

from fleetloop.lab.job import Job
from fleetloop.lab.shards import cores, forking
from fleetloop.lab.storage import alone

PRELOADED = ("fleetloop.lab.experiments", "fleetloop.lab.job", "torch")
Say = Callable[[str], None]


def run_jobs(jobs: Sequence[Job], processes: int | None = None, say: Say = lambda line: None) -> list[Job]:
    """Run what is not done yet; returns the jobs that failed, and those that wait for another.

    Every process keeps to one thread. A job's output goes to a log in its cache directory. Stopped by a signal, it
    stops the jobs under way; they begin anew the next time.
    """
    waiting, failed = [job for job in jobs if not job.done], list[Job]()
    running: dict[ForkServerProcess, Job] = {}
    say(f"{len(jobs) - len(waiting)} of {len(jobs)} are done")
    with _stoppable():
        try:
            while waiting or running:
                while len(running) < (processes or cores()) and (job := _ready(waiting)) is not None:
                    waiting.remove(job)
                    running[_begun(job)] = job
                    say(f"{job.arm}, seed {job.seed}: begun, log in {log(job)}")
                if not running:
                    break  # what is left builds on what failed, or was not asked for
                wait([process.sentinel for process in running])
                failed += _ended(running, say)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.join()
    for job in waiting:
        say(_waits(job, jobs))
    return failed + waiting


def _begun(job: Job) -> ForkServerProcess:
    process = forking(PRELOADED).Process(target=_work, args=(job, log(job)), daemon=True)
    process.start()
    return process


def _ended(running: dict[ForkServerProcess, Job], say: Say) -> list[Job]:
    """Take note of the processes that have ended; returns the jobs of those that failed."""
    failed = []
    for process in [item for item in running if not item.is_alive()]:
        job = running.pop(process)
        process.join()
        say(f"{job.arm}, seed {job.seed}: {'done' if job.done else f'FAILED, see {log(job)}'}")
        failed += [] if job.done else [job]
    return failed


def log(job: Job) -> Path:
    """Where a job says what it has to say."""
    kind = "-quick" * job.quick + (f"-{job.minutes:g}-minutes" if job.minutes is not None else "")
    return job.cache / "logs" / f"{job.experiment}-{job.arm}-{job.seed}{kind}.log"


def _ready(waiting: Sequence[Job]) -> Job | None:
    """The first that needs nothing that is still to come."""
    return next((job for job in waiting if job.needs is None or job.needs.done), None)


def _waits(job: Job, jobs: Sequence[Job]) -> str:
    """Why a job was not begun: what it builds on has failed, or was not asked for."""
    needed = job.needs
    assert needed is not None, "what builds on nothing is begun"
    missing = "" if needed in jobs else f", which is not done: name both, --arms {needed.arm},{job.arm}"
    return f"{job.arm}, seed {job.seed}: not begun, it waits for {needed.arm}, seed {needed.seed}{missing}"


def _work(job: Job, file: Path) -> None:
    signal.signal(signal.SIGTERM, _unwind)
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone(file.with_suffix(".lock")):  # of two runs, one does the job, and the other finds it done
        if job.done:
            return
        with file.open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            job.run()  # an exception is printed by the process's own end


def _end_with_the_runner() -> None:
    """A runner that is killed can't stop its jobs: they would go on, and be begun once more beside themselves."""
    runner = multiprocessing.parent_process()
    assert runner is not None, "a job runs in a process of its own"
    runner.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _unwind(number: int, frame: FrameType | None) -> None:
    """A process that is told to stop leaves nothing running, and nothing in memory."""
    raise SystemExit(128 + number)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM unwinds this process too, where signals can be handled at all: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
