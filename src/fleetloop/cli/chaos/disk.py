"""A small disk for the robots' host, that can be filled: a tmpfs, where this machine lets us mount one."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_MB = 48
BALLAST = "ballast"


class SmallDisk:
    """Attributes:
    missing: why there is none; empty if there is one.
    """

    def __init__(self, place: Path, missing: str = "") -> None:
        self._place, self.missing = place, missing

    def fill(self) -> None:
        """Until not a byte is left."""
        if self.missing:
            return
        with (self._place / BALLAST).open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def relieve(self) -> None:
        """Room again."""
        (self._place / BALLAST).unlink(missing_ok=True)


@contextmanager
def small_disk(place: Path) -> Iterator[SmallDisk]:
    """A disk of some megabytes at `place`, gone afterwards; an ordinary directory where it can't be mounted."""
    place.mkdir()
    options = f"size={SIZE_MB}m"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    try:
        yield SmallDisk(place, "" if mounted.returncode == 0 else f"no tmpfs: {mounted.stderr.strip()}")
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(place)], check=False)
