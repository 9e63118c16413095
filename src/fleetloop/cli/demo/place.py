"""The demo's directory: made ready, kept to one demo at a time, and never anybody else's."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetloop.core.disk import RealDisk, disk_trouble
from fleetloop.core.errors import ConfigInvalid, DiskTrouble

MARKER = ".fleetloop-demo"
# All that a demo leaves; nothing else is ever removed.
CONTENTS = (
    "fleet.yaml",
    "release.key",
    "clock",
    "logs",
    "hub",
    "host",
    "learner",
    "base",
    "control",
    "encoder",
    "demonstrations",
    "curve.png",
    "report.json",
)


@contextmanager
def cleared(directory: Path) -> Iterator[None]:
    """The directory without what an earlier demo left; held until the end of the block.

    Raises:
        ConfigInvalid: if it holds something and no demo's marker.
        DiskTrouble: if it can't be written, or another demo works in it.
    """
    disk, marker = RealDisk(), directory / MARKER
    if directory.exists() and not directory.is_dir():
        raise ConfigInvalid(str(directory), "is no directory", "choose another with --directory")
    disk.make(directory)
    if not marker.exists() and any(directory.iterdir()):
        raise ConfigInvalid(
            str(directory), "holds something that no demo has left", "choose another, or a new one, with --directory"
        )
    if disk.in_use(marker):
        raise DiskTrouble(str(directory), "another demo works in it", "wait for its end or choose another directory")
    with disk.create(marker):
        try:
            for name in CONTENTS:
                _remove(directory / name)
        except OSError as error:
            raise disk_trouble(directory, error) from error
        disk.make(directory / "logs")
        yield


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
