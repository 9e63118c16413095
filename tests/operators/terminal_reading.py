"""Waiting for what comes out of a terminal."""

import os
import select
import time
from collections.abc import Callable

PATIENCE_S = 30.0


def read_all(file: int) -> bytes:
    """What can be read now."""
    seen = b""
    while select.select([file], [], [], 0.05)[0]:
        seen += os.read(file, 65536)
    return seen


def wait_for(file: int, text: str) -> None:
    seen, deadline = "", time.monotonic() + PATIENCE_S
    while text not in seen:
        assert time.monotonic() < deadline, f"{text!r} never came; this did: {seen!r}"
        seen += read_all(file).decode(errors="ignore")


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
