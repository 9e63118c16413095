"""Blobs by way of a cache near the robots, so that a release crosses the long line once for all of a site.

A blob's name is its hash, so the cache need not be trusted: what it gives is checked here, and it is shown no token.
"""

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO

import httpx
from blake3 import blake3

from fleetloop.core.clock import Wall
from fleetloop.core.release import BlobEntry
from fleetloop.hub.http.download import download
from fleetloop.hub.options import is_loopback

log = logging.getLogger(__name__)

PLAIN: Mapping[str, str] = {}
AFRESH: Mapping[str, str] = {"Cache-Control": "no-cache"}
"""Asks the cache to fetch the blob again, and to keep that in place of what it has."""
WAIT_S = 60.0
"""Real seconds without a byte. While another courier's request fetches the blob, a cache lets the others wait."""
REST_S = 30.0
"""Real seconds for which a cache that did not serve is left alone."""


class SiteCache:
    """A plain HTTP cache in front of the hub. Whatever goes wrong with it, the hub itself is asked instead."""

    def __init__(self, url: str, verify: ssl.SSLContext) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            timeout=httpx.Timeout(WAIT_S, connect=2.0),
            verify=verify,
            follow_redirects=True,  # into the hub's store
            trust_env=not is_loopback(httpx.URL(self.url).host),
        )
        self._clock, self._rests_until = Wall(), 0.0

    def close(self) -> None:
        self._http.close()

    def blob(self, blob: BlobEntry, gives_way: Callable[[], bool]) -> bytes | None:
        """Its bytes; None if the cache does not give them. Raises GaveWay if `gives_way` says so."""
        if self._clock.now() < self._rests_until:
            return None
        try:
            for said in (PLAIN, AFRESH):
                data = self._fetched(blob, said, gives_way)
                if blake3(data).hexdigest() == blob.hash:
                    return data
                log.warning("%s gave damaged bytes for blob %s", self.url, blob.hash[:12])
        except httpx.HTTPError as error:
            log.warning("%s did not serve blob %s (%s)", self.url, blob.hash[:12], error or type(error).__name__)
            if not isinstance(error, httpx.HTTPStatusError) or error.response.status_code != httpx.codes.NOT_FOUND:
                self._rests_until = self._clock.now() + REST_S
        return None

    def _fetched(self, blob: BlobEntry, said: Mapping[str, str], gives_way: Callable[[], bool]) -> bytes:
        file = BytesIO()
        download(lambda headers: self._asked(f"/v1/blobs/{blob.hash}", {**said, **headers}), file, blob.size, gives_way)
        return file.getvalue()

    @contextmanager
    def _asked(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        with self._http.stream("GET", path, headers=headers) as said:
            said.raise_for_status()
            yield said
