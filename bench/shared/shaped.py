"""A network line of a known speed between this machine's processes: a TCP relay behind a token bucket.

It carries no packets of its own: no loss, and congestion control sees a loopback. What it has of a real line is the
time that bytes take (one bucket for all connections, each way) and the delay until the first of them arrives.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

CHUNK = 64 << 10
BURST_S = 0.02
IN_FLIGHT = 256  # chunks of one connection that are on their way


@dataclass(frozen=True)
class Shaped:
    """Where it begins, and what came over it so far (bytes towards the client)."""

    url: str
    _down: Any

    @property
    def down(self) -> int:
        return int(self._down.value)


@contextmanager
def shaped(url: str, mbps: float | None, delay_s: float = 0.0) -> Iterator[Shaped]:
    """A line to `url`, in a process of its own. `mbps`: megabits per second each way, None for no limit."""
    ours, theirs = multiprocessing.Pipe()
    down = multiprocessing.Value("q", 0)
    there = urlsplit(url)
    process = multiprocessing.Process(
        target=_relay, args=(theirs, (there.hostname, there.port), mbps, delay_s, down), daemon=True
    )
    process.start()
    try:
        yield Shaped(f"http://127.0.0.1:{ours.recv()}", down)
    finally:
        process.terminate()
        process.join()


class Bucket:
    """Lets so many bytes through per second; of a pause, `BURST_S` is made up for."""

    def __init__(self, mbps: float | None) -> None:
        self._bytes_per_s = mbps * 1e6 / 8 if mbps else None
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        if self._bytes_per_s is None:
            return
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - BURST_S) + count / self._bytes_per_s
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


def _relay(said: Connection, there: tuple[str, int], mbps: float | None, delay_s: float, down: Any) -> None:
    with suppress(PermissionError):  # a wire waits for no processor
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    asyncio.run(_serve(said, there, mbps, delay_s, down))


async def _serve(said: Connection, there: tuple[str, int], mbps: float | None, delay_s: float, down: Any) -> None:
    up_bucket, down_bucket = Bucket(mbps), Bucket(mbps)

    async def carry(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection(*there, limit=CHUNK)
        await asyncio.gather(
            _one_way(near, forth, up_bucket, delay_s, None), _one_way(far, back, down_bucket, delay_s, down)
        )

    server = await asyncio.start_server(carry, "127.0.0.1", 0, limit=CHUNK)
    said.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _one_way(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, bucket: Bucket, delay_s: float, count: Any
) -> None:
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)

    async def fill() -> None:
        data = b"begin"
        while data:
            try:
                data = await source.read(CHUNK)
            except OSError:
                data = b""
            await bucket.take(len(data))
            await under_way.put((loop.time() + delay_s, data))

    async def drain() -> None:
        with suppress(OSError):
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    break
                if count is not None:
                    count.value += len(data)
                sink.write(data)
                await sink.drain()
        sink.close()

    await asyncio.gather(fill(), drain())
