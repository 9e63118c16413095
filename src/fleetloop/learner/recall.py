"""The hub's order to go on from an older release's checkpoint: heard with a report, obeyed or refused once."""

import json
import logging
from pathlib import Path

from fleetloop.core.disk import Disk
from fleetloop.core.hub import LearnerOrders
from fleetloop.learner.checkpoint import existing, later_than, set_back
from fleetloop.learner.errors import CheckpointInvalid

log = logging.getLogger(__name__)

NOTE = "answered.json"


class Recall:
    """Keeps on the disk which order was answered last.

    Attributes:
        answered: its id; empty for none.
        alarm: why the last one was refused; empty if it was not.
    """

    def __init__(self, disk: Disk, directory: Path, checkpoints: Path) -> None:
        """Raises CheckpointInvalid for a note that is damaged."""
        self._disk, self._note, self._checkpoints = disk, directory / NOTE, checkpoints
        self._orders = LearnerOrders()
        self.answered, self.alarm = _noted(self._note), ""

    def hear(self, orders: LearnerOrders) -> None:
        """What the hub has said last. May be called from another thread."""
        self._orders = orders

    def due(self) -> LearnerOrders | None:
        """The order to obey, if there is one; one that can't be obeyed is refused. Raises DiskTrouble."""
        orders = self._orders
        if orders.order in ("", self.answered):
            return None
        kept = existing(self._checkpoints)
        try:
            later_than(self._checkpoints, orders.back_to)
        except CheckpointInvalid as error:
            if existing(self._checkpoints) != kept:
                return None  # one was written meanwhile, and an old one went: look again
            self.alarm = f"was told to go back, and goes on: {error}"
            log.warning("%s", self.alarm)
            self._answer(orders)
            return None
        return orders

    def obey(self, orders: LearnerOrders) -> None:
        """Put the later checkpoints aside. Nothing may train or write checkpoints meanwhile.

        Raises:
            CheckpointInvalid: if none that is kept is early enough.
            DiskTrouble: if the directory can't be written.
        """
        set_back(self._disk, self._checkpoints, orders.back_to)
        self._answer(orders)  # last: whoever is killed in between finds nothing more to put aside

    def _answer(self, orders: LearnerOrders) -> None:
        self._disk.write(self._note, json.dumps({"order": orders.order, "back_to": orders.back_to}).encode())
        self.answered = orders.order


def _noted(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        return str(json.loads(path.read_bytes())["order"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointInvalid(path.name, f"can't be read ({error})", "remove it") from error
