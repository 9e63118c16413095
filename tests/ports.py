"""TCP ports for hubs that are killed and come back at the same address."""

import itertools
import os
import socket

FIRST, EACH = 20_000, 1000
"""Below the ports that the system gives away by itself, and of each test worker its own: what a dead hub leaves free
for a moment must not be given to another test, whose processes would then speak to this one's."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_next = itertools.cycle(range(FIRST + _worker * EACH, FIRST + (_worker + 1) * EACH))


def free_port() -> int:
    """A port of the loopback interface that nobody listens on, and that no other test is given for a long time."""
    return next(port for port in _next if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
