"""No operator: the fleet is on its own."""

from fleetloop.core.operator import View
from fleetloop.core.robot import Robot


class AbsentOperator:
    """Never takes over."""

    name = ""
    wants_attention = False

    def __init__(self, options: None = None, robot: Robot | None = None) -> None:
        """Needs nothing."""

    def start(self, instruction: str) -> None:
        """Nothing to do."""

    def watch(self, view: View) -> None:
        return None
