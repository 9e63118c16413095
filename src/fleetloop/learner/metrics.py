"""The run's figures: one JSON object per line, and TensorBoard where it is installed."""

import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fleetloop.core.disk import Disk, disk_trouble

Row = Mapping[str, Any]


class Metrics:
    """Appends rows to a file, each with a `kind` (`step`, `first_draw`, `labels`, `release`) and the `step`."""

    def __init__(self, path: Path, disk: Disk, tensorboard: Path | None = None) -> None:
        self._path, self._disk, self._tensorboard = path, disk, tensorboard
        self._next_step: int | None = None  # what TensorBoard has of this one and of later ones is void
        disk.make(path.parent)

    def write(self, row: Row) -> None:
        """Raises DiskTrouble."""
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise disk_trouble(self._path, error) from error
        if self._board is not None and row["kind"] == "step":
            for name, value in scalars(row):
                self._board.add_scalar(name, value, row["step"])

    def rewind(self, step: int) -> None:
        """Forget what came after a checkpoint's step: the resumed run writes it again. Before anything is written.

        Raises DiskTrouble.
        """
        self._next_step = step + 1
        if not self._path.exists():
            return
        rewound = self._path.with_name(f".{self._path.name}.rewound")
        try:
            with self._path.open("rb") as file, rewound.open("wb") as kept:
                kept.writelines(line for line in file if _step_of(line) <= step)
                self._disk.sync(kept)
        except OSError as error:
            raise disk_trouble(rewound, error) from error
        self._disk.rename(rewound, self._path)

    @cached_property
    def _board(self) -> Any:
        return _board(self._tensorboard, self._next_step) if self._tensorboard else None

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _step_of(line: bytes) -> float:
    """Beyond all steps where it is no whole row: a power cut may leave anything."""
    try:
        return int(json.loads(line)["step"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf


def scalars(row: Row, prefix: str = "") -> list[tuple[str, float]]:
    """Every number of a nested row, under a path of names."""
    found: list[tuple[str, float]] = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            found += scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            found.append((f"{prefix}{name}", float(value)))
    return found


def _board(directory: Path, next_step: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  optional, and slow to import
    except ImportError:
        return None
    return SummaryWriter(str(directory), purge_step=next_step)
