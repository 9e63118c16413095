"""What this host's robots say of the releases that lie on its disk."""

from fleetloop.core.host import HostDirectory


class Complaints:
    """Releases that a robot refuses: they may be damaged. One that goes on refusing has said so once."""

    def __init__(self, host: HostDirectory) -> None:
        self._host, self._known = host, set[tuple[str, int]]()

    def heard(self) -> set[int]:
        """The versions that a robot has begun to refuse since the last call."""
        said = {(status.robot, status.refused) for status in self._host.statuses() if status.refused}
        fresh, self._known = said - self._known, said
        return {version for _, version in fresh}
