"""A disk that fails under the hub: the caller is told to come again, and nothing half-stored stays."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_world import TASKS, manifest, put, sealed

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk, disk_trouble
from fleetloop.core.errors import HubUnavailable
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService


class FullDisk(RealDisk):
    """Runs out of space at one of its calls."""

    def __init__(self) -> None:
        self.failing = ""

    def _maybe(self, call: str, path: Path) -> None:
        if self.failing == call:
            raise disk_trouble(path, OSError(errno.ENOSPC, "No space left on device"))

    def sync(self, file) -> None:  # type: ignore[no-untyped-def]
        self._maybe("sync", Path(file.name))
        super().sync(file)

    def move(self, source: Path, target: Path) -> None:
        self._maybe("move", target)
        super().move(source, target)

    def sync_name(self, path: Path) -> None:
        self._maybe("sync_name", path)
        super().sync_name(path)

    def create(self, path: Path):  # type: ignore[no-untyped-def]
        self._maybe("create", path)
        return super().create(path)


@pytest.fixture
def store() -> str:
    return ""


@pytest.mark.parametrize("call", ["create", "sync", "move", "sync_name"])
def test_a_full_disk(options: HubOptions, outbox: Path, call: str) -> None:
    disk = FullDisk()
    service = HubService.open(options, Virtual(), disk, TASKS)
    episode = sealed(outbox)
    _, encoded = manifest()
    (hash, data), *_ = encoded.blobs.items()
    attempts: list[Callable[[], object]] = [lambda: put(service, episode), lambda: service.put_blob(hash, data)]
    disk.failing = call
    for attempt in attempts:
        with pytest.raises(HubUnavailable, match="full"):
            attempt()
    for directory in ("incoming", "episodes", "blobs"):  # what lies there whole, and nobody was told of, is replaced
        assert call == "sync_name" or list((options.directory / directory).iterdir()) == []
    assert service.episodes() == []
    disk.failing = ""
    for attempt in attempts:
        attempt()
    assert len(service.events(0)) == 1
    service.close()
