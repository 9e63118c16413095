"""A bell for coroutines."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from fleetloop.hub.bell import Bell, Found


class _Ring:
    """One ring that is waited for, the one after it, and what those whom it woke have looked up since."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self.following: _Ring | None = None
        self._looks: dict[Hashable, asyncio.Future[Any]] = {}

    async def look(self, what: Hashable, look: Callable[[], Found], threads: CapacityLimiter) -> Found:
        """As `look`, in a thread. To be called after the ring: all whom it woke share one look at the same thing."""
        if what not in self._looks:
            self._looks[what] = asyncio.ensure_future(run_sync(look, limiter=threads))
        found: Found = await asyncio.shield(self._looks[what])  # one of those who wait may hang up
        return found


class Doorbell:
    """Lets any number of coroutines wait for a `Bell` without a thread each. Made within a running event loop."""

    def __init__(self, bell: Bell, threads: CapacityLimiter) -> None:
        """`threads` are those that may look at once."""
        self._threads = threads
        self._next, self._closed = _Ring(), False
        self._loop = asyncio.get_running_loop()
        self._silence = bell.listen(self._wake_soon)

    async def first(self, what: Hashable, look: Callable[[], Found], wait_s: float) -> Found:
        """What `look` finds now, or after some ring within `wait_s` real seconds; it runs in a thread.

        When the bell rings, one look serves all who wait for the same `what`: a thousand robots hear of a release at
        the cost of one.
        """
        until = self._loop.time() + wait_s
        ring = self._next  # taken before the look, so that no ring falls between the look and the wait
        found = await run_sync(look, limiter=self._threads)
        while not found and not self._closed and (left := until - self._loop.time()) > 0:
            try:
                await asyncio.wait_for(ring.rung.wait(), left)
            except TimeoutError:
                break
            found = await ring.look(what, look, self._threads)
            assert ring.following is not None
            ring = ring.following  # which may have rung already, while this one's look was under way
        return found

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
        ring, self._next = self._next, _Ring()
        ring.following = self._next
        ring.rung.set()
