"""What answers in the hub's place, or in words that this version does not know: typed errors, never a crash."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hub_world import manifest, sealed

from fleetloop.core.errors import FleetLoopError, HubUnavailable, UnknownName
from fleetloop.core.release import BlobEntry
from fleetloop.hub.http import line
from fleetloop.hub.http.client import HttpHub

Answer = tuple[int, dict[str, str], bytes]


class Stranger:
    """A server that answers everything with `answer`."""

    def __init__(self) -> None:
        stranger = self
        self.answer: Answer = (200, {}, b"")

        class Handler(BaseHTTPRequestHandler):
            def _say(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, body = stranger.answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_PATCH = _say  # noqa: N815 -- the names are the library's

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    found = Stranger()
    yield found
    found.close()


@pytest.fixture
def hub(stranger: Stranger) -> Iterator[HttpHub]:
    client = HttpHub(stranger.url)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, {"Content-Type": "text/html"}, b"<html>Welcome! Please log in.</html>"), "no JSON"),
        ((308, {"Location": "https://elsewhere.lab/"}, b""), "sends everybody on to https://elsewhere.lab/"),
        ((413, {"Content-Type": "text/html"}, b"<html>413 Request Entity Too Large</html>"), "answered HTTP 413"),
        ((404, {}, b"Not Found"), "answered HTTP 404"),
        ((200, {}, b"{}"), "did not say what is needed"),
    ],
    ids=["a log-in page", "a redirect", "a proxy's limit", "another server", "less than is needed"],
)
def test_whatever_else_answers_the_hub_is_away(stranger: Stranger, hub: HttpHub, tmp_path: Path, answer, told) -> None:
    stranger.answer = answer
    episode = sealed(tmp_path)
    for call in (lambda: hub.put_episode(episode.meta.id, episode.path, episode.hash), lambda: hub.claim_lease("me")):
        with pytest.raises(HubUnavailable, match=told):
            call()


def test_a_newer_hub_may_say_more(stranger: Stranger, hub: HttpHub) -> None:
    stranger.answer = (200, {}, json.dumps([{"robot": "arm-1", "weather": "fine"}]).encode())
    (orders,) = hub.beat([])
    assert orders.robot == "arm-1"


MANIFEST = manifest()[0].numbered(1).to_json()


def changed(**fields: object) -> object:
    return {"release": {**MANIFEST, **fields}, "draft": None}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "ok",
        {"error": "log in"},
        {"release": 5, "draft": None},
        {"release": None},
        {"release": None, "draft": {"codec": 1}},
        changed(version="1"),
        changed(version=None),
        changed(conditions=[7]),
        changed(tensors=[{**MANIFEST["tensors"][0], "shape": "ab"}]),
        changed(tensors=[{**MANIFEST["tensors"][0], "dtype": []}]),
        changed(encodings=[{"codec": [], "base": 0, "blobs": []}]),
        changed(encodings=[{"codec": "full/1", "base": 0, "blobs": [{"hash": 5, "size": 1}]}]),
    ],
    ids=str,
)
def test_an_answer_that_is_no_release_is_a_typed_error(stranger: Stranger, hub: HttpHub, body: object) -> None:
    stranger.answer = (200, {}, json.dumps(body).encode())
    for call in (lambda: hub.coming("stable"), lambda: hub.channel("stable"), lambda: hub.release(1), hub.fleet):
        with suppress(FleetLoopError):
            assert call() is None


def test_an_encoding_that_is_broken_is_no_crash(stranger: Stranger, hub: HttpHub) -> None:
    stranger.answer = (200, {"Content-Encoding": "gzip"}, b"not gzip")
    for call in (lambda: hub.channel("stable"), lambda: hub.claim_lease("me")):
        with pytest.raises(HubUnavailable):
            call()


def test_an_answer_that_does_not_end_is_not_taken_in(
    stranger: Stranger, hub: HttpHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MOST_BYTES", 1 << 20)
    stranger.answer = (200, {}, b" " * (2 << 20))
    with pytest.raises(HubUnavailable, match="more than 1 MB"):
        hub.fleet()


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_what_is_no_name_of_a_robot_is_said(hub: HttpHub, name: str) -> None:
    for call in (lambda: hub.pin(name, 1), lambda: hub.forget(name)):
        with pytest.raises(UnknownName, match="no name of a robot"):
            call()


def test_a_blob_that_comes_encoded_is_not_unpacked(stranger: Stranger, hub: HttpHub) -> None:
    """Nobody asked for that, and little may become much."""
    stranger.answer = (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(1 << 20)))
    assert hub.get_blob(BlobEntry("0" * 64, 1 << 20)) == stranger.answer[2]
