"""A rollback while something is being fetched: no robot waits for a slow line, nor drives what was rolled back."""

import threading

import pytest

from fleetloop.core.errors import GaveWay
from fleetloop.core.hub import Orders
from fleetloop.courier import fetcher

PATIENCE_S = 30.0


class SlowLine:
    """Blobs begin to come, and then do not come on: they trickle, and give way; or nothing is heard at all."""

    def __init__(self, hub, trickles):
        self.begun, self.ended = threading.Event(), threading.Event()
        self._fetch, self._trickles = hub.fetch_blob, trickles

    def fetch_blob(self, blob, file, *, gives_way):
        self.begun.set()
        while not self.ended.wait(0.01):
            if self._trickles and gives_way():
                raise GaveWay("transfer", "has stopped")
        self._fetch(blob, file)


@pytest.fixture(params=[True, False], ids=["it trickles", "it stalls"])
def line(courier, request, monkeypatch):
    monkeypatch.setattr(fetcher, "HEED_S", 0.05)
    monkeypatch.setattr(fetcher, "LISTEN_S", 0.01)
    for version in (1, 2):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
    line = SlowLine(courier.hub, request.param)
    courier.hub.fetch_blob = line.fetch_blob
    yield line
    line.ended.set()


def beside(work, line):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert line.begun.wait(PATIENCE_S)
    return thread


def test_what_was_rolled_back_while_it_came_is_called_off(courier, line):
    courier.hub.publish(3, 3.0)
    step = beside(courier.fetcher.step, line)
    courier.hub.stable = courier.hub.releases[1]
    step.join(PATIENCE_S)
    assert not step.is_alive()
    assert courier.host.current_version() == 2
    courier.fetcher.step()
    assert courier.host.current_version() == 1
    assert courier.alarms.text == ""


def test_a_newer_release_calls_nothing_off(courier, line):
    courier.hub.publish(3, 3.0)
    step = beside(courier.fetcher.step, line)
    courier.hub.publish(4, 4.0)
    step.join(0.3)
    assert step.is_alive()
    line.ended.set()
    step.join(PATIENCE_S)
    assert courier.host.current_version() == 3


def test_a_rollback_does_not_wait_for_what_another_robot_is_pinned_to(courier, line):
    courier.hub.publish(3, 3.0)
    courier.host.post_orders(Orders("robot-1", release=3))
    pins = beside(courier.pins.step, line)
    courier.hub.stable = courier.hub.releases[1]
    courier.fetcher.step()
    assert courier.host.current_version() == 1
    line.ended.set()
    pins.join(PATIENCE_S)
    assert 3 in courier.host.versions()
