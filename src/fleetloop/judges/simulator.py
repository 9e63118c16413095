"""The simulator as judge: it knows the true state, so its verdicts are privileged."""

from collections.abc import Callable

from fleetloop.core.frame import Observation
from fleetloop.core.outcome import Judge, Outcome


class SimulatorJudge:
    """Says `success` as soon as the scene's own rule does."""

    rank = Judge.SIMULATOR

    def __init__(self, success: Callable[[], bool]) -> None:
        self._success = success

    def verdict(self, observation: Observation) -> Outcome | None:
        return Outcome.SUCCESS if self._success() else None
