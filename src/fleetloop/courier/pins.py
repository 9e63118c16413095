"""Releases that robots of this host are pinned to: a person has said so, or they try a candidate out."""

from fleetloop.core.alarm import Alarms
from fleetloop.core.errors import FleetLoopError, ReleaseInvalid
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Hub
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.complaints import Complaints
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.options import CourierOptions

PART = "pinned release"


class PinFetcher:
    """Brings what the robots' orders name, beside the stable channel's release.

    Attributes:
        refused: those of them that can't be verified, or that this host does not trust.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        host: HostDirectory,
        hub: Hub,
        *,
        options: CourierOptions,
        backoff: Backoff,
        alarms: Alarms,
    ) -> None:
        self._fetcher, self._host, self._hub, self._options = fetcher, host, hub, options
        self._backoff, self._alarms = backoff, alarms
        self.refused: frozenset[int] = frozenset()
        self._complaints = Complaints(host)
        self._sound = set[int]()  # those that were verified on the disk, and no robot has refused since

    def step(self) -> float:
        """Fetch what is missing or may be damaged. Returns the real seconds until the next call."""
        pinned = self._host.pinned()
        self._sound &= (pinned & set(self._host.versions())) - self._complaints.heard()
        wanted = pinned - self._sound
        self.refused &= wanted
        if problems := list(filter(None, map(self._bring, sorted(wanted)))):
            self._alarms.set(PART, "; ".join(problems))
            return self._backoff.failed()
        self._alarms.clear(PART)
        self._backoff.succeeded()
        return self._options.beat_wall_s

    def _bring(self, version: int) -> str:
        """What is wrong with it, if anything."""
        try:
            self._fetcher.bring(self._hub.release(version))
        except FleetLoopError as error:
            if isinstance(error, ReleaseInvalid):
                self.refused |= {version}
            return str(error)
        self._sound.add(version)
        return ""
