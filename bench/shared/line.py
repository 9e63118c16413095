"""A lean HTTP client: thousands of robots fit into one process, which must not be what is measured."""

import asyncio
import json
from typing import Any


class Line:
    """One keep-alive connection, as each thread of a courier has one; one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """The JSON of the answer, or its bytes. Raises OSError or EOFError without a whole answer, and Refused."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        try:
            said = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-length: {len(body)}\r\n{said}\r\n"
            self._writer.write(head.encode())
            self._writer.write(body)
            await self._writer.drain()
            status, kind, answer = await self._answer()
        except (OSError, EOFError, asyncio.CancelledError):
            self.close()
            raise
        if status >= 400:
            raise Refused(f"{method} {path.partition('?')[0]}: {status} {answer[:200]!r}")
        return json.loads(answer) if kind == "application/json" else answer

    async def _answer(self) -> tuple[int, str, bytes]:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        answer = await self._reader.readexactly(int(fields["content-length"]))
        return int(first.split()[1]), fields.get("content-type", ""), answer

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class Refused(Exception):
    """The hub said no."""
