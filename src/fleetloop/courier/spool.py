"""The spool: recordings that came to their end are sealed, sealed episodes wait for the hub, refused ones are kept."""

import json
import logging
from pathlib import Path

from fleetloop.core.alarm import Alarms
from fleetloop.core.disk import Disk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import DiskTrouble, EpisodeInvalid, FleetLoopError
from fleetloop.core.recording import PARTIAL, SEALED, seal

log = logging.getLogger(__name__)

PART = "spool"
REFUSED, REASON = "refused", ".reason.json"
URGENT_IN_A_ROW = 8  # then the oldest goes, so that a stream of corrections holds nothing back for ever


class Spool:
    """One host's spool directory. Raises DiskTrouble when it can't be written; then everything in it stays."""

    def __init__(self, directory: Path, disk: Disk, alarms: Alarms, *, urgent_bytes: int = 0) -> None:
        """`urgent_bytes`: episodes with interventions that are no larger than this overtake the others."""
        self._directory, self._disk, self._alarms = directory, disk, alarms
        self._urgent_bytes = urgent_bytes
        self._urgent: dict[Path, bool] = {}  # of the episodes that wait, as far as they were looked into
        self._put_back: set[Path] = set()
        self._chosen: Path | None = None
        self._in_a_row = 0
        self._refused = directory / REFUSED
        disk.make(self._refused)
        for leftover in directory.glob(".*.tmp"):  # a courier was killed while it sealed; the recording is still there
            disk.remove(leftover)
        self._announce_refused()

    def seal_finished(self) -> None:
        """Seal every recording whose writer has closed it or died; without an ending it is sealed as aborted.

        Raises DiskTrouble after all were tried, for the first that could not be sealed.
        """
        self._announce_refused()
        troubles = []
        for partial in sorted(self._directory.glob(f"*{PARTIAL}")):
            try:
                self._seal(partial)
            except DiskTrouble as error:
                troubles.append(error)
        if troubles:
            raise troubles[0]

    def _seal(self, partial: Path) -> None:
        if self._disk.in_use(partial):
            return
        if partial.stat().st_size == 0:  # its writer died before the first frame
            self._disk.remove(partial)
            return
        try:
            seal(self._disk, partial)
        except EpisodeInvalid as error:
            self.set_aside(partial, error)

    def sealed(self) -> list[Path]:
        """The episodes that wait for the hub, oldest first (their ids sort by time)."""
        return sorted(self._directory.glob(f"*{SEALED}"))

    def next(self) -> Path | None:
        """The episode to upload now: the oldest urgent one, and at times the oldest of all; None if none waits.

        Those that were put back come again once nothing else waits.
        """
        sealed = self.sealed()
        waiting = [path for path in sealed if path not in self._put_back]
        if not waiting:
            self._put_back, waiting = set(), sealed
        self._urgent = {path: self._is_urgent(path) for path in waiting}
        urgent = [path for path in waiting if self._urgent[path]]
        if urgent and self._in_a_row < URGENT_IN_A_ROW:
            self._in_a_row += 1
            self._chosen = urgent[0]
        else:
            self._in_a_row = 0
            self._chosen = waiting[0] if waiting else None
        return self._chosen

    def overtaken(self) -> bool:
        """Whether an urgent episode has come since `next` or this was asked, and what `next` said is none."""
        came = {path: self._is_urgent(path) for path in self.sealed() if path not in self._urgent}
        self._urgent |= came
        return any(came.values()) and not (self._chosen and self._urgent[self._chosen])

    def _is_urgent(self, path: Path) -> bool:
        if path in self._urgent:
            return self._urgent[path]
        try:
            return path.stat().st_size <= self._urgent_bytes and bool(Episode.open(path).interventions())
        except EpisodeInvalid:  # the upload will say so
            return False

    def put_back(self, episode: Path) -> None:
        """What can't go up now must not hold back the others."""
        self._put_back.add(episode)

    def forget(self, episode: Path) -> None:
        """Delete what the hub has durably."""
        self._disk.remove(episode)

    def set_aside(self, file: Path, error: FleetLoopError) -> None:
        """Keep a file that nobody wants out of the way, with the reason beside it."""
        reason = {"file": file.name, "error": type(error).__name__, "field": error.field, "reason": str(error)}
        log.warning("%s is refused: %s", file.name, error)
        self._disk.rename(file, self._refused / file.name)  # which needs no room
        self._disk.write(self._refused / f"{file.name}{REASON}", json.dumps(reason, indent=1).encode())
        self._announce_refused()

    def refused(self) -> list[Path]:
        """What was set aside, by name."""
        return sorted(path for path in self._refused.iterdir() if not path.name.endswith(REASON))

    def _announce_refused(self) -> None:
        kept = self.refused()
        if kept:
            self._alarms.set(PART, f"{len(kept)} refused and kept in {self._refused}, e.g. {refusal(kept[-1])}")
        else:
            self._alarms.clear(PART)


def refusal(file: Path) -> str:
    """Why a file was set aside. A disk that lies may have lost that."""
    try:
        return str(json.loads(file.with_name(f"{file.name}{REASON}").read_bytes())["reason"])
    except (FileNotFoundError, ValueError, KeyError):
        return "nobody wrote down why"
