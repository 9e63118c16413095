"""A real fleet, maltreated: nothing is lost, nothing is there twice, nothing is damaged."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fleetloop.cli.chaos.count import PROMISES
from fleetloop.cli.chaos.proxy import Proxy, Weather

COMMAND = str(Path(sys.executable).with_name("fleetloop"))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_maltreated_fleet_keeps_every_recording(tmp_path):
    report = tmp_path / "report.json"
    command = [COMMAND, "lab", "chaos", "--minutes", "2", "--kills", "14", "--report", str(report)]
    done = subprocess.run(
        [*command, "--directory", str(tmp_path / "chaos")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["kills"] >= 8
    assert found["network"].keys() >= {"fine"}
    assert found["recorded"] > 60
    assert found["stored"] >= found["recorded"] - found["without_a_whole_frame"]
    assert found["learner_steps"] > 50
    assert {name: found[name] for name in PROMISES if found[name]} == {}
    assert "--robots 3" in found["command"]


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(4096):
                connection.sendall(data)

    def close(self) -> None:
        self._listener.close()


def ask(url: str, data: bytes) -> bytes:
    """What comes back before the connection ends."""
    host, port = url.removeprefix("http://").split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)
        while len(answer) < len(data):
            part = connection.recv(4096)
            if not part:
                break
            answer += part
    return answer


def heard(call) -> bytes:
    """Nothing, where the connection breaks."""
    try:
        return call()
    except OSError:
        return b""


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


def test_the_proxy_passes_everything_on_in_fine_and_in_slow_weather(echo):
    with Proxy(echo.port, seed=0) as proxy:
        assert ask(proxy.url, bytes(100_000)) == bytes(100_000)
        proxy.turn(Weather.SLOW)
        assert ask(proxy.url, b"slowly") == b"slowly"
        assert not proxy.broken


def test_a_cut_ends_what_is_open_and_refuses_what_is_new(echo):
    with Proxy(echo.port, seed=0) as proxy:
        host, port = proxy.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            proxy.turn(Weather.CUT)
            assert heard(lambda: connection.recv(1)) == b""
        assert heard(lambda: ask(proxy.url, b"x")) == b""
        proxy.turn(Weather.FINE)
        assert ask(proxy.url, b"again") == b"again"
        assert proxy.broken["cut"] >= 2


def test_a_lossy_network_breaks_connections_in_the_middle(echo):
    with Proxy(echo.port, seed=0) as proxy:
        proxy.turn(Weather.LOSSY)
        assert len(heard(lambda: ask(proxy.url, bytes(2_000_000)))) < 2_000_000
        assert proxy.broken["lossy"] >= 1
