"""What a line carries, as the blobs that came over it show."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO

import pytest

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import HubUnavailable
from fleetloop.courier.metered import TELLING, Metered
from fleetloop.weights.route import BYTES_PER_S


class Line:
    """Blobs of `size` bytes that take `takes_s` each; `together` of them at a time, if several threads ask."""

    def __init__(self, size, takes_s, together=1):
        self.clock, self.size, self.takes_s, self.away = Virtual(), size, takes_s, False
        self._begun = threading.Barrier(together, action=lambda: self.clock.sleep_until(self.clock.now() + takes_s))

    def release(self, version):
        return f"release {version}"

    def fetch_blob(self, blob, file, *, gives_way):
        if self.away:
            raise HubUnavailable("hub", "is away")
        self._begun.wait(10)
        file.write(bytes(self.size))


def fetched(metered, blob):
    file = BytesIO()
    metered.fetch_blob(blob, file)
    return file.getvalue()


def test_before_anything_came_a_line_is_an_ordinary_one():
    assert Metered(Line(1, 1.0), Virtual()).bytes_per_s == BYTES_PER_S


def test_a_transfer_shows_how_fast_the_line_is_and_a_later_one_that_it_has_changed():
    line = Line(2_000_000, 0.5)
    metered = Metered(line, line.clock)
    assert metered.release(3) == "release 3"
    assert fetched(metered, "a") == bytes(2_000_000)
    assert metered.bytes_per_s == pytest.approx(4e6)
    line.clock.sleep_until(line.clock.now() + 100.0)  # nothing is fetched: that says nothing
    line.size = 4_000_000
    fetched(metered, "b")
    assert metered.bytes_per_s == pytest.approx(8e6)


def test_small_blobs_are_taken_together():
    line = Line(TELLING // 4, 0.25)
    metered = Metered(line, line.clock)
    for _ in range(3):
        fetched(metered, "a")
    assert metered.bytes_per_s == BYTES_PER_S
    fetched(metered, "a")
    assert metered.bytes_per_s == pytest.approx(TELLING)


def test_blobs_that_come_at_the_same_time_share_the_line():
    line = Line(1_000_000, 0.5, together=3)
    metered = Metered(line, line.clock)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(partial(fetched, metered), "abc"))
    assert metered.bytes_per_s == pytest.approx(6e6)


def test_one_that_begins_while_another_is_under_way_takes_no_time_twice():
    class Nested(Line):
        def fetch_blob(self, blob, file, *, gives_way):
            self.clock.sleep_until(self.clock.now() + 1.0)
            if blob == "first":
                fetched(metered, "second")
            file.write(bytes(self.size))

    line = Nested(2_000_000, 0.0)
    metered = Metered(line, line.clock)
    fetched(metered, "first")
    assert metered.bytes_per_s == pytest.approx(4_000_000 / 2.0)


def test_what_fails_fails_here_too_and_the_next_is_measured():
    line = Line(2_000_000, 1.0)
    metered = Metered(line, line.clock)
    line.away = True
    with pytest.raises(HubUnavailable):
        fetched(metered, "a")
    line.away = False
    fetched(metered, "a")
    assert metered.bytes_per_s == pytest.approx(2e6)
