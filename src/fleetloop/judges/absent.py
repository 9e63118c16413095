"""No judge: episodes end when a person says so, or when their time is up."""

from fleetloop.core.frame import Observation
from fleetloop.core.outcome import Judge
from fleetloop.core.robot import Robot


class AbsentJudge:
    """Never says anything."""

    rank = Judge.NOBODY

    def __init__(self, options: None = None, robot: Robot | None = None) -> None:
        """Needs nothing."""

    def verdict(self, observation: Observation) -> None:
        return None
