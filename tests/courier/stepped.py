"""A courier whose parts are advanced by hand, with a real directory and a hub in memory."""

import numpy as np
from spooled import FakeHub

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.host import HostDirectory
from fleetloop.core.release import Release
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.herald import Herald
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.pins import PinFetcher
from fleetloop.courier.spool import Spool
from fleetloop.courier.uploader import Uploader

# Every look is a beat.
OPTIONS = CourierOptions(poll_wall_s=0.0, keep_releases=2, silent_wall_s=1.0, beat_wall_s=0.25, look_wall_s=0.25)


class Courier:
    def __init__(self, root, disk=None):
        self.alarms = Alarms()
        self.host = HostDirectory(root / "host", RealDisk())
        self.hub = FakeHub(root / "hub")
        backoff = Backoff(OPTIONS, np.random.default_rng(0))
        self.spool = Spool(self.host.spool, disk or RealDisk(), self.alarms)
        self.uploader = Uploader(self.spool, self.hub, OPTIONS, backoff, self.alarms)
        self.fetcher = Fetcher(
            self.host, self.hub, options=OPTIONS, backoff=backoff, alarms=self.alarms, clock=Virtual()
        )
        self.pins = PinFetcher(self.fetcher, self.host, self.hub, options=OPTIONS, backoff=backoff, alarms=self.alarms)
        self.clock = Virtual()
        self.herald = Herald(
            self.host,
            self.hub,
            OPTIONS,
            backoff,
            self.alarms,
            clock=self.clock,
            refused=lambda: self.pins.refused,
        )

    def drain(self):
        while not self.uploader.idle or list(self.host.spool.glob("*.partial")):
            self.uploader.step()

    def files(self):
        return sorted(path.name for path in self.host.spool.iterdir() if path.is_file())


def current(host: HostDirectory) -> tuple[Release, bytes] | None:
    """The release to run and its safetensors bytes; None before the first."""
    version = host.current_version()
    return (host.manifest(version), host.weights(version)) if version else None
