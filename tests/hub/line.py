"""A network line to a hub that counts what goes over it, and can be cut."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Thread
from urllib.parse import urlsplit

_BLOB = re.compile(rb"^GET /v1/blobs/([0-9a-f]{64}) ")


class Line:
    """A relay on a port of its own.

    Attributes:
        up, down: bytes that went to the hub, and that came from it.
        blobs: hashes of the blobs that were asked for, in order.
        cut_after: bytes up after which it breaks, once; None for never.
        cut_down_after: the same of bytes down, of one connection; those that come after them are lost.
    """

    def __init__(self, hub: str) -> None:
        there = urlsplit(hub)
        self._hub = (there.hostname, there.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.up = self.down = 0
        self.blobs: list[str] = []
        self.cut_after: int | None = None
        self.cut_down_after: int | None = None

    def serve(self) -> None:
        with suppress(OSError):  # its listener was closed
            while True:
                here, _ = self._listener.accept()
                Thread(target=self._carry, args=(here,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _carry(self, here: socket.socket) -> None:
        with closing(here), closing(socket.create_connection(self._hub)) as there:
            Thread(target=self._back, args=(there, here), daemon=True).start()
            with suppress(OSError):
                while data := here.recv(65536):
                    self.blobs += [hash.decode() for hash in _BLOB.findall(data)]
                    there.sendall(data)
                    self.up += len(data)
                    if self.cut_after is not None and self.up >= self.cut_after:
                        self.cut_after = None
                        return

    def _back(self, there: socket.socket, here: socket.socket) -> None:
        came = 0
        with suppress(OSError):
            while data := there.recv(65536):
                came += len(data)
                self.down += len(data)
                if self.cut_down_after is not None and came > self.cut_down_after:
                    self.cut_down_after = None
                    break
                here.sendall(data)
            here.shutdown(socket.SHUT_RDWR)


@contextmanager
def line(hub: str) -> Iterator[Line]:
    """A line to the hub at this URL."""
    found = Line(hub)
    thread = Thread(target=found.serve)
    thread.start()
    try:
        yield found
    finally:
        found.close()
        thread.join()
