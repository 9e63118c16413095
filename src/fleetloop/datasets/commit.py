"""Several files that appear together: staged beside the data set, then moved, with a list of the moves kept until then.

Whoever dies before the list is written has changed nothing; whoever dies after it leaves moves that the next one makes.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fleetloop.core.disk import Disk, disk_trouble
from fleetloop.datasets.errors import DatasetInvalid

HIDDEN, LIST = ".fleetloop", "moves.json"
ROOMS = ("meta", "data", "videos")


class Staging:
    """Files on their way into `root`. Finishes what an earlier one left behind.

    Raises DatasetInvalid if what lies there in its place is no such list.
    """

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root, self._disk, self._place = root, disk, root / HIDDEN
        self._names: list[str] = []
        if (self._place / LIST).exists():
            self._move(_moves(self._place / LIST))
        shutil.rmtree(self._place, ignore_errors=True)

    def put(self, name: str, data: bytes) -> None:
        """Stage a file that is to be at `name` below the root."""
        path = self.path(name)
        self._disk.write(path, data)

    @contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """As `put`, piece by piece. Raises DiskTrouble."""
        path = self.path(name)
        try:
            with self._disk.create(path) as file:
                yield file
                self._disk.sync(file)
        except OSError as error:
            raise disk_trouble(path, error) from error
        self._disk.sync_name(path)

    def path(self, name: str) -> Path:
        """Where to write a file that is to be at `name`; it must be on the disk for good before `commit`."""
        path = self._place / name
        self._disk.make(path.parent)
        self._names.append(name)
        return path

    def commit(self) -> None:
        """Move everything to where it belongs. Raises DiskTrouble."""
        self._disk.write(self._place / LIST, json.dumps(self._names).encode())
        self._move(self._names)
        self._names = []

    def _move(self, names: list[str]) -> None:
        for name in names:
            source, target = self._place / name, self._root / name
            if source.exists():
                self._disk.make(target.parent)
                self._disk.rename(source, target)
        self._disk.remove(self._place / LIST)


def _moves(file: Path) -> list[str]:
    """The list that an export left when it died; a data set may come from anybody."""
    remedy = "if no export of yours left it there, look where the data set comes from"
    try:
        names = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DatasetInvalid(str(file), f"is no JSON ({error})", remedy) from error
    if not isinstance(names, list) or not all(isinstance(name, str) and _is_below(name) for name in names):
        raise DatasetInvalid(str(file), "names what is no file of a data set", remedy)
    return names


def _is_below(name: str) -> bool:
    first, *others = name.split("/")
    return first in ROOMS and bool(others) and not {"", ".", ".."} & set(others)
