"""What a robot's actor is loading, on the disk: a release that kills it is not tried twice."""

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.host import HostDirectory
from fleetloop.core.release import Release

REMEMBERED = 20


class Trial:
    """A release is on trial from before it is loaded until its first chunk is there.

    An actor that finds one on trial when it starts died of it, or while it was: that release is refused from then on.
    It is known by its result hash, so that the same weights under another number are refused too.
    """

    def __init__(self, host: HostDirectory, robot: str) -> None:
        self._host, self._robot = host, robot
        noted = host.trial(robot)
        self._refused: list[str] = list(noted.get("refused", []))
        self._loading = ""
        if left := noted.get("loading", ""):
            self._refused = [*self._refused, left][-REMEMBERED:]

    def check(self, release: Release) -> None:
        """Raises ReleaseInvalid for one that an actor has died of."""
        if release.result_hash in self._refused:
            where = self._host.trial_file(self._robot)
            raise ReleaseInvalid(
                f"release {release.version}", "this robot's actor died loading it", f"to try it again remove {where}"
            )

    def begin(self, release: Release) -> None:
        """Raises DiskTrouble if it can't be noted."""
        self._loading = release.result_hash
        self._note(self._loading)

    def end(self) -> None:
        """It has proved itself, or was found wanting without any harm. Raises DiskTrouble if it can't be noted."""
        if self._loading:
            self._note("")
            self._loading = ""

    def _note(self, loading: str) -> None:
        self._host.note_trial(self._robot, {"loading": loading, "refused": self._refused})
