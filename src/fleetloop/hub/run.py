"""The hub as a process: one directory, one port, until it is told to stop."""

import gc
import logging
import resource
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from fleetloop.core.clock import Clock
from fleetloop.core.disk import Disk, RealDisk, alone
from fleetloop.core.errors import ConfigInvalid, HubUnavailable, SystemMissing
from fleetloop.core.thread import LoudThread
from fleetloop.hub.catalog.place import place_of, sole_hub
from fleetloop.hub.http.face import Face
from fleetloop.hub.options import LOCK, HubOptions, is_loopback
from fleetloop.hub.releases.promotion import Promoter
from fleetloop.hub.releases.trial_run import TrialRun
from fleetloop.hub.service import HubService

KEEP_ALIVE_S = 75
GRACE_S = 5
SWITCH_S = 5e-4  # after so long another thread gets the interpreter: an upload lets go of it again and again
PAUSE_S = 0.5  # real seconds between two looks whether the house is to be kept or promotion is due

log = logging.getLogger(__name__)


def serve(
    options: HubOptions,
    clock: Clock,
    *,
    tasks: Collection[str] = (),
    disk: Disk | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish the requests under way and return. Call it in the main thread.

    `ready` is called with the hub's URL once it can be reached.

    Raises:
        ConfigInvalid: the address is open to others and `insecure` is not set.
        SystemMissing: the port is taken.
        DiskTrouble: the directory can't be written or belongs to another running hub.
    """
    check_binding(options)
    _allow_connections()
    disk = disk or RealDisk()
    disk.make(options.directory)
    with (
        alone(
            options.directory / LOCK,
            str(options.directory),
            "belongs to another running hub",
            "stop it or choose another",
        ),
        sole_hub(place_of(options), "stop it first"),
        _listening(options) as listener,
    ):
        service = HubService.open(options, clock, disk, tasks)
        sys.setswitchinterval(SWITCH_S)
        gc.freeze()  # what is there now stays: to look through it again and again stops everything for 0.1 s
        try:
            _run(service, options, clock, listener, ready)
        finally:
            service.close()


def check_binding(options: HubOptions) -> None:
    """Raise ConfigInvalid for an address that others could reach, unless that is what the user said."""
    if not (is_loopback(options.host) or options.insecure or options.tls_certificate):
        raise ConfigInvalid(
            "hub.host",
            f"{options.host} can be reached by others, and this hub has no TLS",
            "name hub.tls_certificate and hub.tls_key, use 127.0.0.1, or say `insecure: true` (--insecure) on a "
            "network that you trust",
        )
    try:
        if options.tls_certificate:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_certificate, options.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigInvalid(
            "hub.tls_certificate",
            f"can't be used with hub.tls_key ({error})",
            "name two PEM files that belong together",
        ) from error


def _allow_connections() -> None:
    """As many as the system lets this process have: each courier holds three, and the usual limit is 1024 files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Server(uvicorn.Server):
    """Ends the long polls when it is told to stop, instead of waiting for them."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None], started: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping, self._started = stopping, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._stopping()


def _run(
    service: HubService, options: HubOptions, clock: Clock, listener: socket.socket, ready: Callable[[str], None]
) -> None:
    face, stop = Face(service, options), threading.Event()
    host, port = listener.getsockname()[:2]
    url = f"{options.scheme}://[{host}]:{port}" if ":" in host else f"{options.scheme}://{host}:{port}"
    config = uvicorn.Config(
        face.app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
    )
    # After its shutdown uvicorn raises the signal again; being told to stop is no failure.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    server = _Server(config, stopping=face.hang_up, started=lambda: ready(url))
    threads = [LoudThread("hub-house", lambda: _keep_house(service, clock, server, stop), stop)]
    if options.promote.every_s is not None:
        trial_run = TrialRun(options.promote.command, url)
        promoter = Promoter(service.publishing, service.book, options.promote, trial_run, clock)
        threads.append(LoudThread("hub-promotion", lambda: _promote(promoter, clock, server, stop), stop))
    elif candidate := service.publishing.helm.steering.candidate:  # nobody would ever decide
        service.publishing.helm.refuse(candidate, "promotion was switched off")
    try:
        for thread in threads:
            thread.start()
        server.run(sockets=[listener])
        stop.set()
        for thread in threads:
            thread.settle(GRACE_S)
    finally:
        stop.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep_house(service: HubService, clock: Clock, server: uvicorn.Server, stop: threading.Event) -> None:
    """Let go what is not to be kept, until `stop`. A hub in which that fails must not go on as if it did not."""
    try:
        while not stop.is_set():
            if service.keep_house(clock.now()) > clock.now():
                stop.wait(PAUSE_S)
    finally:
        server.should_exit = True


def _promote(promoter: Promoter, clock: Clock, server: uvicorn.Server, stop: threading.Event) -> None:
    """Let candidates go their way until `stop`. A hub in which they can't must not go on as if they could."""
    try:
        while not stop.wait(PAUSE_S):
            try:
                promoter.step(clock.now())
            except HubUnavailable as error:
                log.warning("promotion waits: %s", error)
    finally:
        promoter.close()
        server.should_exit = True


@contextmanager
def _listening(options: HubOptions) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named; else each waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SystemMissing(
            f"port {options.port} on {options.host}",
            f"can't be had ({reason})",
            "stop the program that uses it, or choose another with hub.port",
        ) from error
    with listener:
        yield listener
