"""A hub in a process of its own, on loopback. Whoever uses it sets multiprocessing's start method to `spawn`."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from fleetloop.core.clock import Wall
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import serve


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Its URL."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_hub, args=(theirs, directory), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _hub(said: Connection, directory: Path) -> None:
    serve(HubOptions(directory=directory, port=0, learner_lease_s=3600), Wall(), ready=said.send)
