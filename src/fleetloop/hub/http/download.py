"""Fetching immutable bytes over a line that breaks: what has come is kept, and the rest alone is asked for."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import httpx

PLAIN = {"Accept-Encoding": "identity"}  # offsets are of the bytes themselves
PARTIAL = 206

Ask = Callable[[Mapping[str, str]], AbstractContextManager[httpx.Response]]


def download(ask: Ask) -> bytes:
    """All bytes that `ask`, given headers, answers with. It goes on for as long as each try brings some.

    Raises what `ask` raises, and httpx.TransportError if a try brings nothing.
    """
    got = bytearray()
    while True:
        before = len(got)
        try:
            with ask({**PLAIN, "Range": f"bytes={before}-"} if before else PLAIN) as said:
                if said.status_code != PARTIAL:
                    got.clear()
                for chunk in said.iter_bytes():
                    got += chunk
            return bytes(got)
        except httpx.TransportError:
            if len(got) <= before:
                raise
