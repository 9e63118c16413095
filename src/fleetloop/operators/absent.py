"""No operator: the fleet is on its own."""

from fleetloop.core.operator import View


class AbsentOperator:
    """Never takes over."""

    name = ""
    wants_attention = False

    def start(self, instruction: str) -> None:
        """Nothing to do."""

    def watch(self, view: View) -> None:
        return None
