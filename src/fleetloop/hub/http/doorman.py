"""Who calls. Every call's token is looked up after the call came, so that a revoked one is worth nothing at once."""

import asyncio
from collections.abc import Sequence

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from fleetloop.hub.tokens import Token, Tokens

AT_ONCE = 500  # databases take so many values in one question


class Doorman:
    """Looks up together what comes while he looks up others: a thousand calls cost a few turns in a thread.

    To be used within one event loop.
    """

    def __init__(self, tokens: Tokens, threads: CapacityLimiter) -> None:
        self._tokens, self._threads = tokens, threads
        self._waiting: list[tuple[str, asyncio.Future[Token]]] = []
        self._work: asyncio.Task[None] | None = None

    async def holder(self, secret: str) -> Token:
        """Raises as `Tokens.holder`."""
        future: asyncio.Future[Token] = asyncio.get_running_loop().create_future()
        self._waiting.append((secret, future))
        if self._work is None:
            self._work = asyncio.ensure_future(self._look_up())  # its own task: whoever asked first may hang up
        return await future

    async def _look_up(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                await self._tell(group)
        finally:
            self._work = None

    async def _tell(self, group: list[tuple[str, asyncio.Future[Token]]]) -> None:
        found: Sequence[Token | Exception]
        try:
            found = await run_sync(self._tokens.holders, [secret for secret, _ in group], limiter=self._threads)
        except Exception as error:  # noqa: BLE001  raised again, for each of them
            found = [error] * len(group)
        for (_, future), said in zip(group, found, strict=True):
            if future.done():  # its call was broken off
                continue
            if isinstance(said, Exception):
                future.set_exception(said)
            else:
                future.set_result(said)
