"""Episodes up: urgent ones first, then by age; one at a time, deleted here only after the hub has them durably.

A large one that is under way stops for an urgent one, and goes on where it stopped.
"""

import logging
from pathlib import Path

from fleetloop.core.alarm import Alarms
from fleetloop.core.errors import DiskTrouble, FleetLoopError, GaveWay, HubFailed, HubRefused, HubUnavailable, NotTheHub
from fleetloop.core.hub import Hub
from fleetloop.core.recording import open_sealed
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.spool import Spool

log = logging.getLogger(__name__)

PART = "upload"
# Refusals that speak of this courier and not of the episode: not allowed, no route, too fast. The episode stays.
NOT_ABOUT_THE_EPISODE = frozenset({401, 403, 404, 405, 408, 429})


class Uploader:
    """Empties the spool into the hub."""

    def __init__(self, spool: Spool, hub: Hub, options: CourierOptions, backoff: Backoff, alarms: Alarms) -> None:
        self._spool, self._hub, self._options = spool, hub, options
        self._backoff, self._alarms = backoff, alarms
        self._unsealed: DiskTrouble | None = None

    def step(self) -> float:
        """Seal what is finished and upload one episode. Returns the real seconds until the next call."""
        self._seal()
        try:
            chosen = self._spool.next()
            if chosen is not None:
                self._upload(chosen)
            elif self._unsealed is not None:
                raise self._unsealed
        except GaveWay as stopped:
            log.info("%s %s", chosen, stopped.problem)
        except (HubUnavailable, DiskTrouble) as error:
            self._alarms.set(PART, str(error))
            return self._backoff.failed()
        if self._unsealed is None:
            self._alarms.clear(PART)
        self._backoff.succeeded()
        return self._options.scan_wall_s if self.idle else 0.0

    def _seal(self) -> None:
        """A disk too full to seal on must not keep back what is sealed: its upload is what makes room."""
        try:
            self._spool.seal_finished()
        except DiskTrouble as error:
            self._alarms.set(PART, str(error))
            self._unsealed = error
        else:
            self._unsealed = None

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the hub, and all that has ended was sealed."""
        return self._unsealed is None and not self._spool.sealed()

    def _overtaken(self) -> bool:
        """Whether an urgent episode waits since the upload under way was begun; one that has just ended is sealed."""
        self._seal()
        return self._spool.overtaken()

    def _upload(self, path: Path) -> None:
        try:
            sealed = open_sealed(path)
            acknowledged = self._hub.put_episode(sealed.meta.id, path, sealed.hash, gives_way=self._overtaken)
        except (NotTheHub, HubFailed):
            self._spool.put_back(path)  # a proxy may let no body of this size pass, and others all the same
            raise
        except (HubUnavailable, DiskTrouble, GaveWay):
            raise
        except FleetLoopError as error:
            if isinstance(error, HubRefused) and error.status in NOT_ABOUT_THE_EPISODE:
                self._spool.put_back(path)  # a token may be for other robots than this episode's
                raise HubUnavailable("hub", f"refuses uploads ({error})") from error
            self._spool.set_aside(path, error)
            return
        if acknowledged.id != sealed.meta.id:
            raise HubUnavailable("hub", f"acknowledged {acknowledged.id}, but {sealed.meta.id} was sent")
        self._spool.forget(path)
        log.info("%s is with the hub (event %d)", acknowledged.id, acknowledged.seq)
