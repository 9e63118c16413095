"""The process edge of a courier: its threads, its signals, its end."""

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock, Wall
from fleetloop.core.disk import Disk, alone
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Hub
from fleetloop.core.thread import LoudThread
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.herald import Herald
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.pins import PinFetcher
from fleetloop.courier.spool import Spool
from fleetloop.courier.uploader import Uploader
from fleetloop.weights.signature import ANYBODYS, Trust

log = logging.getLogger(__name__)

LOCK = "courier.lock"


def run_courier(
    host: HostDirectory, hub: Hub, *, disk: Disk, clock: Clock, options: CourierOptions, trust: Trust = ANYBODYS
) -> None:
    """Serve the host's actors until SIGTERM or SIGINT, then upload what is left within `drain_wall_s`.

    Only releases that `trust` takes come onto the host. The fleet's `clock` only dates what happens: the network is as
    fast as it is.

    To be called in the main thread. Raises what any of its parts raised, and DiskTrouble if another courier serves
    this host's directory.
    """
    with only_courier(host, "one courier is enough for a host"):
        _serve(host, hub, disk=disk, clock=clock, options=options, trust=trust)


def only_courier(host: HostDirectory, remedy: str) -> AbstractContextManager[None]:
    """Raises DiskTrouble with this remedy if a courier serves the host's directory."""
    return alone(host.root / LOCK, str(host.root), "another courier serves this directory", remedy)


def _serve(host: HostDirectory, hub: Hub, *, disk: Disk, clock: Clock, options: CourierOptions, trust: Trust) -> None:
    host.forget_halves()
    alarms, rng = Alarms(), np.random.default_rng()
    spool = Spool(host.spool, disk, alarms, urgent_bytes=options.urgent_bytes)
    uploader = Uploader(spool, hub, options, Backoff(options, rng.spawn(1)[0]), alarms)
    fetcher = Fetcher(
        host, hub, options=options, backoff=Backoff(options, rng.spawn(1)[0]), alarms=alarms, clock=clock, trust=trust
    )
    pins = PinFetcher(fetcher, host, hub, options=options, backoff=Backoff(options, rng.spawn(1)[0]), alarms=alarms)
    herald = Herald(
        host, hub, options, Backoff(options, rng.spawn(1)[0]), alarms, clock=clock, refused=lambda: pins.refused
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threads = [
        LoudThread("uploader", lambda: _repeat(uploader.step, ended), ended),
        LoudThread("fetcher", lambda: _repeat(fetcher.step, ended), ended),
        LoudThread("pins", lambda: _repeat(pins.step, ended), ended),
        LoudThread("herald", lambda: _repeat(herald.step, ended), ended),
    ]
    for thread in threads:
        thread.start()
    ended.wait()
    deadline = Wall().now() + options.drain_wall_s
    upload, fetch, pin, announce = threads
    fetcher.stop()
    fetch.settle(0.0)  # it may be waiting at the hub; whatever it is doing can be cut off
    pin.settle(0.0)
    announce.settle(options.drain_wall_s)
    upload.settle(max(deadline - Wall().now(), 0.0))
    if upload.is_alive() or announce.is_alive():
        log.warning("the hub takes too long; the next courier on this host will go on")
        return
    herald.speak()  # the actors' last words
    _drain(uploader, deadline)


def _repeat(step: Callable[[], float], ended: threading.Event) -> None:
    while not ended.is_set():
        ended.wait(step())


def _drain(uploader: Uploader, deadline: float) -> None:
    wall = Wall()
    while True:
        pause = uploader.step()
        if uploader.idle:
            return
        if wall.now() + pause > deadline:
            log.warning("the spool is not empty; the next courier on this host will go on")
            return
        wall.sleep_until(wall.now() + pause)
