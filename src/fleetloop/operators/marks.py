"""A person at the terminal who says how an episode ended, and drives nothing: for robots that no key can drive."""

from fleetloop.core.operator import Mark, View
from fleetloop.core.robot import Robot
from fleetloop.operators.person import MARKS, Person
from fleetloop.operators.terminal import Terminal


class MarksOperator:
    """Ends the episode by y (success) and n (failure); needs no attention for it, and never asks for any.

    Raises:
        SystemMissing: if there is no terminal.
    """

    name, wants_attention = "marks", False

    def __init__(self, options: None, robot: Robot, terminal: Terminal | None = None) -> None:
        self._person = Person(terminal)
        self._instruction = ""
        self._person.say("y success · n failure: ends the episode")

    def start(self, instruction: str) -> None:
        self._person.begin()
        self._instruction = instruction

    def watch(self, view: View) -> Mark | None:
        """Raises SystemMissing if the terminal is gone."""
        self._person.show(f"{view.elapsed:4.0%} · {self._instruction}")
        return MARKS.get(self._person.listen())

    def close(self) -> None:
        self._person.close()
