"""The seam to an operator: a person, or a scripted stand-in, who may take a robot over."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.outcome import Outcome


@dataclass(frozen=True)
class Drive:
    """The operator drives: `action` (A,) is sent."""

    action: FloatArray


@dataclass(frozen=True)
class HandBack:
    """The policy may go on."""


@dataclass(frozen=True)
class Mark:
    """The operator ends the episode with this outcome: obeyed at once, with attention or without."""

    outcome: Outcome


@dataclass(frozen=True)
class View:
    """What an operator sees at a tick.

    Attributes:
        proposed: (A,) what the policy would send; None while it has nothing to propose.
        attention: whether the operator holds this robot's attention lease, or need not, for the hub is away. Without it
            a `Mark` alone is obeyed.
        driving: whether the operator drove at the last tick.
        elapsed: share of the time limit that has passed, 0 to 1 and beyond.
    """

    tick: int
    observation: Observation
    proposed: FloatArray | None
    attention: bool
    driving: bool
    elapsed: float


class Operator(Protocol):
    """Asked at every tick; never blocks.

    Attributes:
        name: the pool of people that it belongs to; recorded with the robot's episodes.
        wants_attention: whether it asks for the robot's attention lease now.
    """

    name: str
    wants_attention: bool

    def start(self, instruction: str) -> None:
        """A new episode begins."""
        ...

    def watch(self, view: View) -> Drive | HandBack | Mark | None: ...


@runtime_checkable
class Closable(Protocol):
    """An operator that has taken something, a terminal or a device, and gives it back."""

    def close(self) -> None: ...


class Expert(Protocol):
    """Somebody who knows what to do next. In simulation it reads the true state: privileged."""

    def action(self) -> FloatArray:
        """(A,) the action for this tick."""
        ...

    def progress(self) -> float:
        """A number that grows by at least 0.05 whenever the task has come closer to its end."""
        ...
