"""Fetching immutable bytes over a line that breaks: what has come is kept, and the rest alone is asked for."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO

import httpx

from fleetloop.hub.http.uplink import stopped

PLAIN = {"Accept-Encoding": "identity"}  # offsets are of the bytes themselves
PARTIAL = 206

Ask = Callable[[Mapping[str, str]], AbstractContextManager[httpx.Response]]


def download(ask: Ask, file: BinaryIO, size: int, gives_way: Callable[[], bool]) -> None:
    """Append the rest of what `ask`, given headers, answers with to a file that is at its end.

    It goes on for as long as each try brings some. Of what is longer than `size` bytes, one byte too many is taken: no
    more room is given to it, and its hash will not fit.

    Raises what `ask` raises, httpx.TransportError if a try brings nothing, and GaveWay if `gives_way` says so, asked
    with all that comes.
    """
    while True:
        before = file.tell()
        try:
            with ask({**PLAIN, "Range": f"bytes={before}-"} if before else PLAIN) as said:
                if said.status_code != PARTIAL:
                    file.truncate(0)
                    file.seek(0)
                for chunk in said.iter_raw():  # whoever encodes it all the same sends other bytes than its hash says
                    file.write(chunk[: max(0, size + 1 - file.tell())])
                    if file.tell() > size:
                        return
                    if gives_way():
                        raise stopped()
            return
        except httpx.TransportError:
            if file.tell() <= before:
                raise
