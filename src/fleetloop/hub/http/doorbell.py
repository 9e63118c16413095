"""A bell for coroutines."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from fleetloop.hub.bell import Bell, Found

REMEMBERED = 4
"""Looks whose findings are kept until the next ring: what most ask for. Another is looked up each time."""
AT_ONCE = 4
"""Of those whom a ring woke, how many go on in one round of the event loop: an upload takes many rounds."""


class _Spell:
    """The time between two rings, in which whoever asks for the same is told the same: one look serves all."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self._looks: dict[Hashable, asyncio.Future[Any]] = {}

    async def look(self, what: Hashable, look: Callable[[], Found], threads: CapacityLimiter) -> Found:
        """As `look`, in a thread, unless it is known already."""
        finding = self._looks.pop(what, None)
        if finding is None or (finding.done() and finding.exception()):  # what failed is tried again
            finding = asyncio.ensure_future(run_sync(look, limiter=threads))
        self._looks[what] = finding  # as the newest
        if len(self._looks) > REMEMBERED:
            del self._looks[next(iter(self._looks))]
        found: Found = finding.result() if finding.done() else await asyncio.shield(finding)  # one may hang up
        return found


class Doorbell:
    """Lets any number of coroutines wait for a `Bell` without a thread each. Made within a running event loop.

    For what changes only before a ring: between two rings a look is not taken twice.
    """

    def __init__(self, bell: Bell, threads: CapacityLimiter) -> None:
        """`threads` are those that may look at once."""
        self._threads = threads
        self._door = asyncio.Semaphore(AT_ONCE)
        self._spell, self._closed = _Spell(), False
        self._loop = asyncio.get_running_loop()
        self._silence = bell.listen(self._wake_soon)

    async def first(self, what: Hashable, look: Callable[[], Found], wait_s: float) -> Found:
        """What `look` finds now, or after some ring within `wait_s` real seconds; it runs in a thread.

        One look serves all who ask for the same `what`: a thousand robots hear of a release at the cost of one.
        """
        if self._closed:  # no ring is heard any more
            return await run_sync(look, limiter=self._threads)
        until = self._loop.time() + wait_s
        spell = self._spell  # taken before the look, so that no ring falls between the look and the wait
        found = await spell.look(what, look, self._threads)
        while not found and not self._closed and (left := until - self._loop.time()) > 0:
            try:
                await asyncio.wait_for(spell.over.wait(), left)
            except TimeoutError:
                break
            spell = self._spell
            found = await spell.look(what, look, self._threads)
            async with self._door:  # a thousand at once would let nobody else in for as long as all of them take
                await asyncio.sleep(0)
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
        spell, self._spell = self._spell, _Spell()
        spell.over.set()
