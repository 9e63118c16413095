"""A bad network on this machine: a TCP proxy that can be cut, slowed down, or made to lose connections."""

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from enum import StrEnum
from random import Random
from types import TracebackType
from typing import Any, Self

CHUNK = 16 << 10
SLOW_BYTES_PER_S, SLOW_DELAY_S = 200_000, 0.1
LOSS = 0.02  # that a connection breaks at a chunk


class Weather(StrEnum):
    """What the network is like. LOSSY breaks connections in the middle; with TCP that is what loss comes to."""

    FINE = "fine"
    CUT = "cut"
    SLOW = "slow"
    LOSSY = "lossy"


class Proxy:
    """Listens on a port of the loopback interface and passes everything on to another. On a thread of its own.

    Attributes:
        url: where it listens.
        broken: connections that it has broken, by the weather.
    """

    def __init__(self, target: int, seed: int) -> None:
        self.url, self.broken = "", Counter[str]()
        self._target, self._rng, self._weather = target, Random(seed), Weather.FINE
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def turn(self, weather: Weather) -> None:
        """From now on the network is like this; a cut ends what is open."""
        self._weather = weather
        if weather is Weather.CUT:
            self._loop.call_soon_threadsafe(self._break_all)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _break_all(self) -> None:
        for writer in list(self._open):
            self._break(writer)

    def _break(self, writer: asyncio.StreamWriter) -> None:
        self.broken[self._weather] += 1
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather is Weather.CUT:
            self._break(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the hub is down: so is the way to it
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        ways = [self._pass_on(reader, far_writer), self._pass_on(far_reader, writer)]
        await asyncio.gather(*(asyncio.create_task(way) for way in ways))
        self._open -= {writer, far_writer}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                if self._weather is Weather.SLOW:
                    await asyncio.sleep(SLOW_DELAY_S + len(data) / SLOW_BYTES_PER_S)
                if self._weather is Weather.LOSSY and self._rng.random() < LOSS:
                    self._break(writer)
                    return
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):  # either side is gone
            writer.transport.abort()
