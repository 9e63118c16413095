"""Who drives: the policy, a human, or nobody. The whole of it is the table `NEXT`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from fleetloop.core.alarm import Alarms
from fleetloop.core.frame import FloatArray
from fleetloop.core.operator import Drive, HandBack, Mark, Operator, View
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import unfit


class Driver(Enum):
    """HOLD: a driver lost attention, and the robot repeats its last action before the policy goes on."""

    POLICY = auto()
    HUMAN = auto()
    HOLD = auto()


class Word(Enum):
    """What comes from the operator's side at a tick. UNHEARD: it does not hold the attention lease."""

    DRIVE = auto()
    HAND_BACK = auto()
    SILENCE = auto()
    UNHEARD = auto()
    WAITED = auto()


NEXT: Mapping[tuple[Driver, Word], Driver] = {
    (Driver.POLICY, Word.DRIVE): Driver.HUMAN,
    (Driver.POLICY, Word.HAND_BACK): Driver.POLICY,
    (Driver.POLICY, Word.SILENCE): Driver.POLICY,
    (Driver.POLICY, Word.UNHEARD): Driver.POLICY,
    (Driver.HUMAN, Word.DRIVE): Driver.HUMAN,
    (Driver.HUMAN, Word.HAND_BACK): Driver.POLICY,
    (Driver.HUMAN, Word.SILENCE): Driver.HUMAN,
    (Driver.HUMAN, Word.UNHEARD): Driver.HOLD,
    (Driver.HOLD, Word.DRIVE): Driver.HUMAN,
    (Driver.HOLD, Word.HAND_BACK): Driver.POLICY,
    (Driver.HOLD, Word.SILENCE): Driver.HOLD,
    (Driver.HOLD, Word.UNHEARD): Driver.HOLD,
    (Driver.HOLD, Word.WAITED): Driver.POLICY,
}


@dataclass(frozen=True)
class Decision:
    """Who drives at this tick.

    Attributes:
        changed: whether somebody else drove before: every chunk made until now is void.
        action: (A,) what a driving human sends; None if it said nothing, and the robot holds.
        mark: the outcome with which the operator ends the episode.
    """

    driver: Driver
    changed: bool
    action: FloatArray | None = None
    mark: Outcome | None = None


class Handover:
    """Listens to one robot's operator: what it drives counts while it holds the attention lease, a mark at any time.

    An action that can't be sent to a robot of this action's `shape` is as if it had said nothing; an alarm names it.

    Attributes:
        driver: who drove last.
    """

    def __init__(self, operator: Operator, hold_ticks: int, shape: tuple[int, ...], alarms: Alarms) -> None:
        self._operator, self._hold_ticks, self._shape, self._alarms = operator, hold_ticks, shape, alarms
        self.driver = Driver.POLICY
        self._hold_until = 0

    def start(self, instruction: str) -> None:
        """A new episode: the policy drives."""
        self.driver = Driver.POLICY
        self._alarms.clear("operator")
        self._operator.start(instruction)

    def decide(self, view: View) -> Decision:
        said = self._sound(self._operator.watch(view))
        if not view.attention and not isinstance(said, Mark):
            said = None
        before = self.driver
        self.driver = NEXT[before, self._word(view, said)]
        if self.driver is Driver.HOLD and before is not Driver.HOLD:
            self._hold_until = view.tick + self._hold_ticks
        action = said.action if isinstance(said, Drive) else None
        mark = said.outcome if isinstance(said, Mark) else None
        return Decision(self.driver, self.driver is not before, action, mark)

    def _sound(self, said: Drive | HandBack | Mark | None) -> Drive | HandBack | Mark | None:
        if not isinstance(said, Drive):
            return said
        if problem := unfit(said.action, self._shape):
            self._alarms.set("operator", f"{self._operator.name}: its action {problem}; the robot is not sent that")
            return None
        self._alarms.clear("operator")
        return said

    def _word(self, view: View, said: Drive | HandBack | Mark | None) -> Word:
        if isinstance(said, Drive):
            return Word.DRIVE
        if isinstance(said, HandBack):
            return Word.HAND_BACK
        if self.driver is Driver.HOLD and view.tick >= self._hold_until:
            return Word.WAITED
        return Word.SILENCE if view.attention else Word.UNHEARD


class Nobody:
    """The operator of a robot that nobody watches."""

    name = ""
    wants_attention = False

    def start(self, instruction: str) -> None:
        pass

    def watch(self, view: View) -> None:
        pass
