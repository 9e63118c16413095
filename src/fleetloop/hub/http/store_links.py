"""What the hub keeps elsewhere: its links say all that is needed, and are nobody's who has our token."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import httpx

from fleetloop.core.errors import HubRefused, HubUnavailable

NO_REST = 416
LOOPBACK = ("all://127.0.0.1", "all://localhost")  # no proxy has a way there


class StoreLinks:
    """One keep-alive client, made when the first link is followed. Safe to call from several threads.

    Every call raises HubUnavailable when the store can't serve now, HubRefused (416) for a range that begins past the
    object's end, and httpx.TransportError when the store can't be reached.
    """

    def __init__(self, timeout_s: float, trusting: ssl.SSLContext) -> None:
        self._timeout_s, self._trusting = timeout_s, trusting

    def close(self) -> None:
        if "_http" in vars(self):
            self._http.close()

    def call(self, method: str, url: str, **request: Any) -> None:
        _check(self._http.request(method, url, **request))

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """An answer that is still coming in."""
        with self._http.stream("GET", url, headers=headers) as said:
            _check(said)
            yield said

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(timeout=self._timeout_s, verify=self._trusting, mounts=dict.fromkeys(LOOPBACK))


def _check(said: httpx.Response) -> None:
    if said.status_code == NO_REST:
        raise HubRefused("Range", "begins past the object's end", status=NO_REST)
    if said.is_error:
        raise HubUnavailable(f"{said.url.host}", f"answered HTTP {said.status_code}", "look at the hub's store")
