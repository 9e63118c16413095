"""What jobs keep between them: expensive starting points, each made once, whoever comes first."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

MEMORY = Path("/dev/shm")
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
        with _alone(self.root / f"{name}.lock"):
            if not place.exists():
                building = self.root / f".{name}.building"
                shutil.rmtree(building, ignore_errors=True)
                building.mkdir()
                make(building)
                building.rename(place)
        return place


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone afterwards; in memory, if there is room."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > LEAST_FREE
    with tempfile.TemporaryDirectory(prefix=f"fleetloop-{os.getpid()}-", dir=MEMORY if roomy else None) as name:
        yield Path(name)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
