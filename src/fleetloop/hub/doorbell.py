"""A bell for coroutines."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from fleetloop.hub.bell import Bell, Found


class Doorbell:
    """Lets any number of coroutines wait for a `Bell` without a thread each. Made within a running event loop."""

    def __init__(self, bell: Bell) -> None:
        self._rung, self._closed = asyncio.Event(), False
        self._loop = asyncio.get_running_loop()
        self._silence = bell.listen(self._wake_soon)

    async def first(self, look: Callable[[], Found], wait_s: float) -> Found:
        """As `Bell.first`; `look` runs in a thread."""
        until = self._loop.time() + wait_s
        while True:
            rung = self._rung  # taken before the look, so that no ring falls between the look and the wait
            found = await run_in_threadpool(look)
            left = until - self._loop.time()
            if found or self._closed or left <= 0:
                return found
            with suppress(TimeoutError):
                await asyncio.wait_for(rung.wait(), left)

    def close(self) -> None:
        """Nobody waits any longer. Callable from a signal handler of the loop's thread."""
        if self._closed:
            return
        self._silence()
        self._closed = True
        self._wake_soon()

    def _wake_soon(self) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()
