"""How soon a robot's host hears of a release, and has it: a real hub over loopback, waiting couriers, small weights.

Milliseconds, one release after the other. `heard`: from the call that publishes until every one of so many waiting
couriers has the manifest in its hand. `installed`: until a courier's fetcher has fetched, verified and written it with
fsync. `bare call`: the same client and server for a call that does nothing, in the same run: what no news can beat.
"""

import multiprocessing
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubUnavailable
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import STABLE
from fleetloop.core.release import Release
from fleetloop.core.spec import FeatureSpec, PolicySpec
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.options import CourierOptions
from fleetloop.hub.http.client import HttpHub
from fleetloop.weights.codec import encode
from shared.hub import running
from shared.report import arguments, show, write

SPEC = PolicySpec((FeatureSpec("hands", (4,)),), FeatureSpec("hands", (2,)), 8, 4, 20.0)
PAUSE_S = 0.2  # between two releases, so that every courier waits again
WALL = Wall()


def main() -> None:
    given = arguments(__doc__, releases=50, couriers=8).parse_args()
    with tempfile.TemporaryDirectory() as name, running(Path(name) / "hub") as url:
        rows = [
            _row("bare call", _timed(HttpHub(url).fleet, given.releases)),
            *_followed(url, Path(name) / "host", given.releases, given.couriers),
        ]
    show(f"releases, ms, {given.couriers} couriers wait", rows)
    write(given.report, {"releases": rows})


def _followed(url: str, place: Path, releases: int, couriers: int) -> list[dict[str, Any]]:
    """Publish, and note when each courier has heard of it and the last one has installed it."""
    heard: Queue[float] = Queue()
    installed: Queue[float] = Queue()
    for _ in range(couriers):
        threading.Thread(target=_hear, args=(url, heard), daemon=True).start()
    threading.Thread(target=_install, args=(url, place, installed), daemon=True).start()
    hub = HttpHub(url)
    lease = hub.claim_lease("bench")
    hear_ms, install_ms, publish_ms = [], [], []
    for number in range(releases):
        release = _put(hub, number)
        WALL.sleep_until(WALL.now() + PAUSE_S)
        began = WALL.now()
        hub.publish(release, lease)
        publish_ms.append((WALL.now() - began) * 1e3)
        hear_ms.append((max(heard.get() for _ in range(couriers)) - began) * 1e3)
        install_ms.append((installed.get() - began) * 1e3)
    return [_row("published", publish_ms), _row("heard by all", hear_ms), _row("installed", install_ms)]


def _hear(url: str, heard: "Queue[float]") -> None:
    hub, version = HttpHub(url), 0
    with suppress(HubUnavailable):  # the hub has been stopped: the bench is over
        while True:
            if release := hub.channel(STABLE, after=version, wait_s=20):
                version = release.version
                heard.put(WALL.now())


def _install(url: str, place: Path, installed: "Queue[float]") -> None:
    host, options = HostDirectory(place, RealDisk()), CourierOptions()
    backoff = Backoff(options, np.random.default_rng(0))
    fetcher = Fetcher(host, HttpHub(url), options=options, backoff=backoff, alarms=Alarms(), clock=WALL)
    version = 0
    while True:
        fetcher.step()
        if host.current_version() != version:
            version = host.current_version()
            installed.put(WALL.now())


def _put(hub: HttpHub, number: int) -> Release:
    encoded = encode({"head": np.random.default_rng(number).random((512, 512), np.float32)})
    for hash, data in encoded.blobs.items():
        hub.put_blob(hash, data)
    return Release(
        run="bench",
        step=number,
        parent=number,
        trained_through=0,
        policy={"name": "bench"},
        spec=SPEC.to_json(),
        spec_hash=SPEC.hash(),
        config_hash="",
        statistics_hash="",
        conditions=(),
        tensors=encoded.tensors,
        encodings=(encoded.encoding(),),
        result_hash=encoded.result_hash,
        clock_s=0.0,
    )


def _timed(call: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = WALL.now()
        call()
        found.append((WALL.now() - began) * 1e3)
    return found


def _row(what: str, figures: Sequence[float]) -> dict[str, Any]:
    median, high = np.percentile(figures, [50, 99])
    return {"": what, "median": float(median), "99 %": float(high), "most": max(figures)}


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
