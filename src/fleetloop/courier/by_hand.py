"""What a person does with a spool whose courier is not running."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Wall
from fleetloop.core.disk import Disk, disk_trouble
from fleetloop.core.errors import ConfigInvalid, DiskTrouble, HubRefused, HubUnavailable
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Hub
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.run import only_courier
from fleetloop.courier.spool import Spool, refusal
from fleetloop.courier.uploader import Uploader


def drain_spool(host: HostDirectory, hub: Hub, *, disk: Disk, options: CourierOptions, wait_s: float) -> None:
    """Upload all that waits, and return.

    Raises:
        HubUnavailable: if the hub took nothing for `wait_s` real seconds; the rest stays.
        HubRefused: if all was tried, and the hub did not want some of it; that is kept, set aside.
        DiskTrouble: if a courier serves this host's directory: it does the same.
    """
    with only_courier(host, "it uploads by itself: look at its alarm in `fleetloop status`"):
        alarms, wall = Alarms(), Wall()
        spool = Spool(host.spool, disk, alarms, urgent_bytes=options.urgent_bytes)
        uploader = Uploader(spool, hub, options, Backoff(options, np.random.default_rng()), alarms)
        before, left, deadline = set(spool.refused()), -1, wall.now() + wait_s
        while True:
            pause = uploader.step()
            if uploader.idle:
                _check_refused([path for path in spool.refused() if path not in before])
                return
            if len(spool.sealed()) != left:
                left, deadline = len(spool.sealed()), wall.now() + wait_s
            if wall.now() + pause > deadline:
                raise HubUnavailable(str(host.spool), f"{left} episodes could not be uploaded ({alarms.text})")
            wall.sleep_until(wall.now() + pause)


def _check_refused(refused: Sequence[Path]) -> None:
    if refused:
        where, why = refused[0].parent, refusal(refused[0])
        raise HubRefused("spool", f"{len(refused)} episodes were refused and are kept in {where}", f"the first: {why}")


def export_spool(host: HostDirectory, directory: Path, *, disk: Disk, move: bool) -> list[Path]:
    """Copy all sealed episodes durably, and what ended and now is sealed; returns the copies. `move`: remove each here
    afterwards, which may make the room to seal the others.

    Raises:
        ConfigInvalid: if the target is the spool itself.
        DiskTrouble: if the target can't be written, if a courier serves this host's directory, or, after all others
            were copied, for the first that can't be read.
    """
    if directory.exists() and directory.samefile(host.spool):
        raise ConfigInvalid(str(directory), "is the spool itself", "name another directory")
    with only_courier(host, "stop it first: it would upload what is being copied"):
        spool = Spool(host.spool, disk, Alarms())
        disk.make(directory)
        copied, tried, unread = list[Path](), set[Path](), list[DiskTrouble]()

        def carry(paths: Sequence[Path]) -> None:
            for path in paths:
                copy = directory / path.name
                tried.add(path)
                try:
                    data = path.read_bytes()
                except OSError as error:
                    unread.append(disk_trouble(path, error))
                    continue
                disk.write(copy, data)
                copied.append(copy)
                if move:
                    spool.forget(path)

        carry(spool.sealed())
        spool.seal_finished()
        carry([path for path in spool.sealed() if path not in tried])
        if unread:
            raise unread[0]
        return copied
