"""What is in a spool, for a person who looks: what is being recorded, what waits, what was refused and why."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleetloop.core.disk import Disk
from fleetloop.core.episode import Episode, EpisodeMeta
from fleetloop.core.errors import EpisodeInvalid
from fleetloop.core.recording import PARTIAL, SEALED
from fleetloop.courier.spool import REFUSED, refusal


class State(StrEnum):
    """Where an episode is on its way."""

    RECORDING = "recording"
    UNSEALED = "unsealed"  # its writer closed it or died; whoever uploads or exports it seals it
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True)
class Item:
    """One file of a spool.

    Attributes:
        size: bytes.
        meta: None if it can't be read, or not yet.
        frames, interventions: 0 where it can't be read yet.
        reason: why it was refused.
    """

    file: Path
    size: int
    state: State
    meta: EpisodeMeta | None = None
    frames: int = 0
    interventions: int = 0
    reason: str = ""

    @property
    def id(self) -> str:
        return self.file.stem


def inventory(directory: Path, disk: Disk) -> list[Item]:
    """All of a spool, oldest first, then what was refused. What a courier takes away meanwhile is left out."""
    partial, sealed = sorted(directory.glob(f"*{PARTIAL}")), sorted(directory.glob(f"*{SEALED}"))
    refused = sorted(path for path in (directory / REFUSED).glob("*") if path.suffix in (PARTIAL, SEALED))
    under_way = (_under_way(path, disk) for path in partial)
    ended = [_ended(path, State.WAITING) for path in sealed] + [_ended(path, State.REFUSED) for path in refused]
    return [item for item in (*under_way, *ended) if item is not None]


def _under_way(path: Path, disk: Disk) -> Item | None:
    state = State.RECORDING if disk.in_use(path) else State.UNSEALED
    try:
        return Item(path, path.stat().st_size, state)
    except FileNotFoundError:
        return None


def _ended(path: Path, state: State) -> Item | None:
    reason = refusal(path) if state is State.REFUSED else ""
    try:
        size = path.stat().st_size
        episode = Episode.open(path)
    except FileNotFoundError:
        return None
    except EpisodeInvalid as error:
        return Item(path, size, state, reason=reason or str(error))
    return Item(path, size, state, episode.meta, len(episode), len(episode.interventions()), reason)
