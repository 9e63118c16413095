"""Everything that the rest of a run depends on, as a directory: one safetensors file and one JSON file.

It appears under its name only when it is whole and on the disk. Experience is not in it: the episodes come from the hub
again (or the local cache), in the same order, up to the checkpoint's cursor.
"""

import copy
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from fleetloop.core.disk import Disk
from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.frame import Array
from fleetloop.core.versions import versions
from fleetloop.learner.errors import CheckpointInvalid
from fleetloop.learner.latest import Latest
from fleetloop.weights.codec import from_safetensors, to_safetensors

log = logging.getLogger(__name__)

FORMAT = 2
TENSORS, STATE, BEFORE = "state.safetensors", "state.json", ".before"


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run, between two steps.

    Attributes:
        step: optimizer steps taken.
        cursor: the last event that the buffer had taken in.
        release: the version published last; the parent of what comes next.
        config_hash: of the policy's configuration.
        arrays: the trainer's tensors (`trainer.…`), the sampler's windows (`sampler.…`), draw counters (`draws`), the
            index epoch (`epoch`: the step and the cursor of the last arrivals) and the algorithm's (`algorithm.…`).
        uncovered: online episodes with corrections that no release covers yet.
        algorithm: the algorithm's state, but for its arrays; algorithm_name: whose state that is.
        tasks: the buffer's, by their numbers.
        publishing: a newer release than `release` was of an earlier step, and on its way out.
        quiet_s: clock seconds since experience had come last.
    """

    run: str
    step: int
    cursor: int
    release: int
    config_hash: str
    arrays: Mapping[str, Array]
    uncovered: tuple[str, ...]
    algorithm: Mapping[str, Any]
    algorithm_name: str = ""
    tasks: tuple[str, ...] = ()
    publishing: bool = False
    quiet_s: float = 0.0

    def under(self, prefix: str) -> dict[str, Array]:
        """The arrays whose names begin so, without it."""
        cut = len(prefix)
        return {name[cut:]: value for name, value in self.arrays.items() if name.startswith(prefix)}


def divided(state: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of an algorithm's state, and the rest of it: copies, which the algorithm may not change any more.

    Raises CheckpointInvalid if the rest is not JSON, or would read back as something else.
    """
    remedy = "hold texts, numbers, lists and dicts with text keys, and numpy arrays of numbers at the top"
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise CheckpointInvalid("Algorithm.state_dict", f"returned a {type(state).__name__}", remedy)
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    if odd := [name for name, value in arrays.items() if value.dtype.kind not in "biuf"]:
        raise CheckpointInvalid(f"Algorithm.state_dict: {odd[0]}", f"is {arrays[odd[0]].dtype}", remedy)
    rest = {name: value for name, value in state.items() if name not in arrays}
    if where := _changed_by_json(rest, ""):
        raise CheckpointInvalid(f"Algorithm.state_dict: {where}", "is no JSON value", remedy)
    return {name: value.copy() for name, value in arrays.items()}, copy.deepcopy(rest)


def _changed_by_json(value: Any, path: str) -> str:
    """The path of the first thing that JSON can't hold, or would call otherwise; empty if all is well."""
    if value is None or isinstance(value, bool | int | float | str):
        return ""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                return f"{path}[{key!r}]"
        inner = [(f"{path}.{key}".lstrip("."), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return path
    return next((odd for place, item in inner if (odd := _changed_by_json(item, place))), "")


class CheckpointWriter:
    """Writes checkpoints away from the training loop; latest wins.

    Attributes:
        cursor, newest: of the oldest checkpoint that is kept, and of the newest; 0 if there is none.
    """

    def __init__(self, disk: Disk, root: Path, keep: int) -> None:
        self._disk, self._root, self._keep = disk, root, keep
        self._pending: Latest[Checkpoint] = Latest()
        disk.make(root)
        for half in root.glob(".building-*"):  # somebody was killed, or the disk was full
            _discard(half)
        self._look()

    def offer(self, checkpoint: Checkpoint) -> None:
        """Write this as soon as possible, unless something newer is offered first."""
        self._pending.offer(checkpoint)

    def work(self, wait_s: float = 0.0) -> bool:
        """Write what is due, if anything is: whether it was. Raises DiskTrouble."""
        checkpoint = self._pending.take(wait_s)
        if checkpoint is None:
            return False
        save(self._disk, self._root, checkpoint, self._keep)
        self._look()
        return True

    def _look(self) -> None:
        kept = existing(self._root)
        self.cursor, self.newest = cursor_of(kept), cursor_of(kept[::-1])


def save(disk: Disk, root: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint durably under `root` and drop all but the newest `keep`. Raises DiskTrouble."""
    data = to_safetensors(checkpoint.arrays)
    state = {
        "format": FORMAT,
        "run": checkpoint.run,
        "step": checkpoint.step,
        "cursor": checkpoint.cursor,
        "release": checkpoint.release,
        "config_hash": checkpoint.config_hash,
        "uncovered": checkpoint.uncovered,
        "algorithm": checkpoint.algorithm,
        "algorithm_name": checkpoint.algorithm_name,
        "tasks": checkpoint.tasks,
        "publishing": checkpoint.publishing,
        "quiet_s": checkpoint.quiet_s,
        "hash": blake3(data).hexdigest(),
        "versions": versions(),  # for people to read
    }
    final = root / f"step-{checkpoint.step:010d}"
    building = root / f".building-{checkpoint.step:010d}"
    _discard(building)
    disk.make(building)
    disk.write(building / TENSORS, data)
    disk.write(building / STATE, json.dumps(state).encode())
    before = final.with_suffix(BEFORE)  # of the same step; it counts until the new one has its name
    _discard(before)
    if final.exists():
        disk.rename(final, before)
    disk.rename(building, final)
    _discard(before)
    for old in existing(root)[:-keep]:
        _discard(old)
    return final


def existing(root: Path) -> list[Path]:
    """Whole checkpoints, oldest first. One that gives way to another of its step counts until that is there."""
    found = sorted(root.glob("step-*"))
    return [path for path in found if path.suffix != BEFORE or path.with_suffix("") not in found]


def cursor_of(kept: Sequence[Path]) -> int:
    """Of the first of these checkpoints; 0 if there is none, or it can't be told."""
    try:
        return int(json.loads((kept[0] / STATE).read_bytes())["cursor"]) if kept else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def latest(root: Path) -> Checkpoint | None:
    """The newest checkpoint that is sound; None if there is none at all.

    Raises:
        CheckpointInvalid: if there are some, and every one is damaged.
    """
    problem: CheckpointInvalid | None = None
    for path in reversed(existing(root)):
        try:
            return load(path)
        except CheckpointInvalid as error:
            problem = problem or error
    if problem:
        raise problem
    return None


def set_back(disk: Disk, root: Path, release: int) -> None:
    """Put the checkpoints that came after a release aside, under other names, so that `latest` is of it or before.

    Raises:
        CheckpointInvalid: if none of those that are kept is; nothing is put aside then.
    """
    for path in later_than(root, release):
        aside = path.with_name(f"aside-{path.name}")
        _discard(aside)
        disk.rename(path, aside)


def later_than(root: Path, release: int) -> list[Path]:
    """The checkpoints that came after a release: behind the step of a later one, published by then or not yet.

    One that can't be read is passed over, as `latest` does.

    Raises:
        CheckpointInvalid: if none of those that are kept is of it or before, or the newest such one is damaged.
    """
    releases = {path: of for path in existing(root) if (of := _release_of(path)) is not None}
    later = [path for path, of in releases.items() if of > release]
    early = [path for path, of in releases.items() if of <= release]
    if not early:
        raise CheckpointInvalid(
            f"release {release}", "is older than every checkpoint that is kept", "raise learner.keep_checkpoints"
        )
    load(early[-1])
    return later


def _release_of(path: Path) -> int | None:
    """The newest whose step lies behind it."""
    try:
        state = _state(path)
        return int(state["release"]) + bool(state.get("publishing"))
    except CheckpointInvalid as error:
        log.warning("%s", error)
        return None


def load(path: Path) -> Checkpoint:
    """Read a checkpoint directory. Raises CheckpointInvalid."""
    state = _state(path)
    try:
        data = (path / TENSORS).read_bytes()
    except OSError as error:
        raise CheckpointInvalid(path.name, f"can't be read ({error})", "remove the directory") from error
    if blake3(data).hexdigest() != state["hash"]:
        raise CheckpointInvalid(path.name, "has other bytes than its hash says", "remove the directory")
    try:
        arrays = {name: np.array(array) for name, array in from_safetensors(data).items()}
    except ReleaseInvalid as error:
        raise CheckpointInvalid(path.name, error.problem, "remove the directory") from error
    names = ("run", "step", "cursor", "release", "config_hash", "algorithm", "algorithm_name")
    fields = {name: state[name] for name in names}
    later = {name: state[name] for name in ("publishing", "quiet_s") if name in state}  # than the first of this format
    tasks = tuple(state.get("tasks", ()))  # those from before tombstones need none
    return Checkpoint(**fields, **later, arrays=arrays, uncovered=tuple(state["uncovered"]), tasks=tasks)


def _state(path: Path) -> dict[str, Any]:
    """All but the tensors."""
    if not path.is_dir():
        raise CheckpointInvalid(str(path), "is no directory", "name one of a learner's checkpoints/step-…")
    if not (path / STATE).exists():
        raise CheckpointInvalid(str(path), "holds no checkpoint", "name one of a learner's checkpoints/step-…")
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointInvalid(path.name, f"can't be read ({error})", "remove the directory") from error
    if state.get("format") != FORMAT:
        raise CheckpointInvalid(path.name, f"has format {state.get('format')}", f"this version reads {FORMAT}")
    return state


def _discard(directory: Path) -> None:
    """At once out of sight of whoever looks for checkpoints; what a kill leaves of it goes at the next start."""
    if directory.exists():
        hidden = directory.with_name(f".building-{directory.name}")
        shutil.rmtree(hidden, ignore_errors=True)
        shutil.rmtree(directory.rename(hidden))
