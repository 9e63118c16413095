"""The client's line to the hub: one call, and what is wrong with it when it fails."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from fleetloop.core.errors import ConfigInvalid, HubUnavailable, NotTheHub
from fleetloop.hub.http import wire
from fleetloop.hub.http.store_links import StoreLinks
from fleetloop.hub.options import is_loopback

MOST_BYTES = 64 << 20
"""Of an answer that is read as a whole: manifests, events. Blobs and episodes come in pieces."""
REMEDIES = {
    "mismatch": "call the hub by a name that stands in its certificate",
    "CERTIFICATE_VERIFY": "name its certificate as hub_ca",
    "Server disconnected": "is the hub running? One that speaks TLS is called https://",
}
"""By what stands in the words of the libraries beneath."""


class Line:
    """One keep-alive client, and one for where the hub keeps its objects. Safe to call from several threads."""

    def __init__(self, url: str, *, timeout_s: float, token: str, ca: Path | None) -> None:
        """Arguments and errors are those of `HttpHub`."""
        self.url = url.rstrip("/")
        self.tls = _trusting(ca)
        scheme, host = httpx.URL(self.url).scheme, httpx.URL(self.url).host
        if token and scheme == "http" and not is_loopback(host):
            raise ConfigInvalid("hub_url", f"{self.url} would show the token to everybody on the way", "use https://")
        self._timeout_s, self._store = timeout_s, StoreLinks(timeout_s, _trusting_too(ca))
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout_s,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=self.tls,
            limits=httpx.Limits(keepalive_expiry=30.0),  # shorter than the server's, so that it never hangs up first
            trust_env=not is_loopback(host),  # a proxy has no way to this machine's own loopback
        )

    def close(self) -> None:
        self._http.close()
        self._store.close()

    def get(self, path: str, wait_s: float = 0.0, /, **params: Any) -> Any:
        """The JSON in the answer."""
        return self.ask("GET", path, wait_s, params=params)

    def ask(self, method: str, path: str, wait_s: float = 0.0, /, **request: Any) -> Any:
        """The JSON in the answer."""
        return self.read(self.call(method, path, wait_s, **request))

    def read(self, said: httpx.Response) -> Any:
        """The JSON in an answer. Raises HubUnavailable if it has none, as a network's log-in page."""
        try:
            return said.json()
        except (ValueError, RecursionError) as error:
            raise NotTheHub(self.url, "answered with something that is no JSON", wire.SOMEBODY_ELSE) from error

    def part(self, said: Any, name: str) -> Any:
        """What an answer has under this name. Raises HubUnavailable if it is none that could have it."""
        if not isinstance(said, dict) or name not in said:
            raise NotTheHub(self.url, f"answered without {name!r}", wire.SOMEBODY_ELSE)
        return said[name]

    def call(self, method: str, path: str, wait_s: float = 0.0, /, **request: Any) -> httpx.Response:
        """The answer, for which the hub may take `wait_s` real seconds more than for others.

        Raises HubUnavailable if it can't be reached, and for what no hub answers; else what the hub raised.
        """
        if wait_s:
            request["timeout"] = httpx.Timeout(self._timeout_s, read=self._timeout_s + wait_s)
        try:
            with self._http.stream(method, path, **request) as coming:
                said = self._whole(coming)
        except httpx.RequestError as error:
            raise self.away(error) from error
        if coming.has_redirect_location:
            there = coming.headers["Location"]
            raise HubUnavailable(self.url, f"sends everybody on to {there}", "name the hub's own address as hub_url")
        if not said.is_success:
            raise wire.error_from_json(said.status_code, said.content, self.url)
        return said

    def call_store(self, method: str, url: str, **request: Any) -> None:
        try:
            self._store.call(method, url, **request)
        except httpx.RequestError as error:
            raise self.away(error) from error

    @contextmanager
    def streaming(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[tuple[httpx.Response, str]]:
        """An answer that is still coming in, from wherever the hub says, and the hash that the hub says, if any.

        Raises httpx.RequestError too, when the line breaks.
        """
        with self._http.stream("GET", path, headers=headers) as said:
            if said.is_error:
                raise wire.error_from_json(said.status_code, self._whole(said).content, self.url)
            hash = said.headers.get(wire.HASH_HEADER, "")
            if not said.has_redirect_location:
                yield said, hash
                return
        with self._store.stream(said.headers["Location"], headers) as said:
            yield said, hash

    def _whole(self, coming: httpx.Response) -> httpx.Response:
        """The answer with all of its body. Raises NotTheHub for more than any hub says."""
        body = bytearray()
        for chunk in coming.iter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise NotTheHub(self.url, f"answered with more than {MOST_BYTES >> 20} MB", wire.SOMEBODY_ELSE)
        return httpx.Response(coming.status_code, content=bytes(body), request=coming.request)

    def away(self, error: httpx.RequestError) -> HubUnavailable:
        asked = _asked(error) or self.url
        ours = httpx.URL(asked).netloc == httpx.URL(self.url).netloc
        remedy = "is the hub running?" if ours else "the hub keeps its objects there; robots must reach that, too"
        remedy = next((known for words, known in REMEDIES.items() if words in str(error)), remedy)
        said = f"can't be reached ({error or type(error).__name__})"
        return HubUnavailable(self.url if ours else asked, said, remedy)


def _asked(error: httpx.RequestError) -> str:
    """Scheme and host that a request went to; empty if it did not come so far."""
    try:
        url = error.request.url
    except RuntimeError:  # httpx knows of none
        return ""
    return f"{url.scheme}://{url.netloc.decode()}"


def _trusting(ca: Path | None) -> ssl.SSLContext:
    """This certificate alone; without one, what the system trusts."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigInvalid("hub_ca", f"{ca} can't be used ({error})", "name a PEM file with a certificate") from error


def _trusting_too(ca: Path | None) -> ssl.SSLContext:
    """What the system trusts, and this certificate."""
    context = ssl.create_default_context()
    if ca is not None:
        context.load_verify_locations(ca)
    return context
