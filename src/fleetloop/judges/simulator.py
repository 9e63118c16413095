"""The simulator as judge: it knows the true state, so its verdicts are privileged."""

from fleetloop.core.errors import SpecMismatch
from fleetloop.core.frame import Observation
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.robot import OffersOutcome, Robot


class SimulatorJudge:
    """Says what the robot's own rule says.

    Raises:
        SpecMismatch: if the robot has none.
    """

    rank = Judge.SIMULATOR

    def __init__(self, options: None, robot: Robot) -> None:
        if not isinstance(robot, OffersOutcome):
            raise SpecMismatch("judge", "this robot has no rule by which to say how an episode ended", "choose another")
        self._robot: OffersOutcome = robot

    def verdict(self, observation: Observation) -> Outcome | None:
        return self._robot.outcome()
