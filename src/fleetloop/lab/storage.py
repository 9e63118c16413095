"""What jobs keep between them: expensive starting points, each made once, whoever comes first."""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

MEMORY = Path("/dev/shm")
ROOTS = (MEMORY, Path(tempfile.gettempdir()))
PREFIX, LOCK = "fleetloop-lab-", ".held"
YOUNG_S = 60.0
LEAST_FREE = 4 << 30  # bytes that must be free in memory for a run to be kept there


@dataclass(frozen=True)
class Cache:
    """A directory of things that follow from a description alone."""

    root: Path

    def get(self, kind: str, description: Any, make: Callable[[Path], None]) -> Path:
        """The directory that `make` fills. Another process that wants the same waits for it."""
        name = f"{kind}-{blake3(json.dumps(description, sort_keys=True, default=str).encode()).hexdigest()[:12]}"
        place = self.root / name
        self.root.mkdir(parents=True, exist_ok=True)
        with alone(self.root / f"{name}.lock"):
            if not place.exists():
                building = self.root / f".{name}.building"
                shutil.rmtree(building, ignore_errors=True)
                building.mkdir()
                make(building)
                building.rename(place)
        return place


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone afterwards; in memory, if there is room. Those of killed processes are removed first."""
    for root in ROOTS:
        _remove_abandoned(root)
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > LEAST_FREE
    made = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY if roomy else None)
    with made as name, alone(Path(name) / LOCK):
        yield Path(name)


def _remove_abandoned(root: Path) -> None:
    """Scratch directories that nobody holds. A young one may be about to be held."""
    for place in root.glob(f"{PREFIX}*"):
        try:
            if time.time() - place.stat().st_mtime < YOUNG_S:
                continue
            with (place / LOCK).open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
        except OSError:  # it is held, another's, or gone by now
            continue


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock for as long as the block runs; wait for whoever holds it. kill -9 frees it too."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
