"""What a robot's actor is loading, on the disk: a release that kills it is not tried twice."""

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.host import HostDirectory
from fleetloop.core.release import Release

REMEMBERED = 20
SECOND_CHANCE = 2  # deaths after which it is over, even if there is no other release


class Trial:
    """A release is on trial from before it is loaded until its first chunk is there.

    An actor that finds one on trial when it starts died of it, or while it was: that release is refused from then on,
    but for a second chance if there is no other. It is known by its result hash, so that the same weights under another
    number are refused too.
    """

    def __init__(self, host: HostDirectory, robot: str) -> None:
        self._host, self._robot = host, robot
        noted = host.trial(robot)
        self._deaths: dict[str, int] = dict(noted.get("deaths", {}))
        self._loading = ""
        if left := noted.get("loading", ""):
            others = [(hash, count) for hash, count in self._deaths.items() if hash != left]
            self._deaths = dict([*others, (left, self._deaths.get(left, 0) + 1)][-REMEMBERED:])

    def check(self, release: Release, *, last_resort: bool = False) -> None:
        """Raises ReleaseInvalid for one that an actor has died of; for a `last_resort` only if that is sure."""
        if self._deaths.get(release.result_hash, 0) >= (SECOND_CHANCE if last_resort else 1):
            where = self._host.trial_file(self._robot)
            raise ReleaseInvalid(
                f"release {release.version}", "this robot's actor died loading it", f"to try it again remove {where}"
            )

    def begin(self, release: Release) -> None:
        """Raises DiskTrouble if it can't be noted."""
        self._loading = release.result_hash
        self._note(self._loading)

    def prove(self) -> None:
        """What is on trial has driven: nothing is held against it any more. Raises DiskTrouble."""
        if self._loading:
            self._deaths.pop(self._loading, None)
            self.end()

    def end(self) -> None:
        """What is on trial, if anything, has done no harm. Raises DiskTrouble if that can't be noted."""
        if self._loading:
            self._note("")
            self._loading = ""

    def _note(self, loading: str) -> None:
        self._host.note_trial(self._robot, {"loading": loading, "deaths": self._deaths})
