"""Under which name a learner publishes. It is its directory's own, so that a second learner of the same configuration
is another one to the hub."""

import platform
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleetloop.core.disk import Disk
from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import EDGE, Hub

FILE = "holder"
CONFLICT = 409


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Holder:
    """Who holds the publishing lease.

    Attributes:
        check: raises HubRefused before the lease is claimed, where this learner is not to publish.
        claimed: called once the lease is held.
    """

    name: str
    check: Callable[[Hub], None] = _nothing
    claimed: Callable[[], None] = _nothing


def holder_of(disk: Disk, directory: Path, name: str | None, *, goes_on: bool) -> Holder:
    """The one of this directory, or of this name.

    Unless it `goes_on`, from a checkpoint or as it has been told, or has published from this directory before, it does
    not publish where there are releases: the whole fleet would be back at the base.
    """
    file = directory / FILE
    known = file.read_text().strip() if file.exists() else ""
    chosen = name or known or f"{platform.node()}-{secrets.token_hex(4)}"

    def check(hub: Hub) -> None:
        newest = None if known or goes_on else hub.channel(EDGE)
        if newest is not None:
            problem = f"has releases up to {newest.version}, and {directory} has no checkpoint: robots would fall back"
            remedy = "restore the learner's directory, or start it with --begin-anew"
            raise HubRefused("learner", f"the hub {problem} to the base", remedy, status=CONFLICT)

    def claimed() -> None:
        if known != chosen:
            disk.write(file, chosen.encode())

    return Holder(chosen, check, claimed)
