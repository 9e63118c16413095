"""The contract of an operator."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fleetloop.cli.check.findings import expect, left_alone
from fleetloop.cli.check.robot import RobotSubject
from fleetloop.core.frame import FloatArray
from fleetloop.core.operator import Drive, HandBack, Mark, Operator, View
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import Robot

TICKS = 60


@dataclass(frozen=True)
class Answer:
    """What it said at a tick, and how many real seconds it took to say so."""

    tick: int
    said: object
    took_s: float


@dataclass(frozen=True)
class OperatorSubject:
    """An operator at a robot. A real robot is sent what it drives only where it may be moved, and nothing else."""

    operator: Operator
    body: RobotSubject

    def answers(self, *, attention: bool) -> Iterator[Answer]:
        """An episode whose policy never does anything useful; while it has attention, the operator may drive."""
        robot, driving = self.body.robot, False
        start = robot.reset(self.body.task, 1)
        self.operator.start(start.instruction)
        idle = self._idle()
        for tick in self.body.ticks(TICKS):
            view = View(tick, robot.observe(), idle, attention, driving, tick / TICKS)
            with left_alone(view.observation):
                began = time.perf_counter()
                said = self.operator.watch(view)
                took_s = time.perf_counter() - began
            yield Answer(tick, said, took_s)
            driven = said.action if attention and isinstance(said, Drive) else None
            driving = driven is not None
            self._send(idle if driven is None else driven, driving)

    def _idle(self) -> FloatArray | None:
        """What the policy proposes."""
        if self.body.simulated:
            return np.zeros(self.body.robot.spec.action.shape, np.float32)
        return self.body.still(self.body.robot.observe())

    def _send(self, action: FloatArray | None, driving: bool) -> None:
        if action is None or not (self.body.simulated or (driving and self.body.move)):
            return
        if not self.body.simulated:
            fitting(action, self.body.robot)
        self.body.robot.act(action)


def fitting(action: FloatArray, robot: Robot) -> None:
    """Raise Broken unless the robot can be sent it."""
    shape, given = robot.spec.action.shape, f"it drives with {action.dtype}{list(action.shape)}"
    expect((action.shape, action.dtype.name) == (shape, "float32"), given, f"send float32{list(shape)}")
    expect(bool(np.isfinite(action).all()), "it drives with numbers that are not finite", "send finite ones")


def naming(subject: OperatorSubject) -> None:
    """It has a name, and says whether it wants attention."""
    operator = subject.operator
    expect(isinstance(operator.name, str), f"`name` is {operator.name!r}", "name the pool of people; empty for nobody")
    wants = operator.wants_attention
    expect(isinstance(wants, bool), f"`wants_attention` is {wants!r}", "make it True or False")


def starting(subject: OperatorSubject) -> None:
    """A new episode begins without a wish left over from the last."""
    list(subject.answers(attention=True))
    subject.operator.start("another episode")
    expect(not subject.operator.wants_attention, "it still wants attention after `start`", "clear it in `start`")


def speaking(subject: OperatorSubject) -> None:
    """What it says at a tick is Drive, HandBack, Mark or nothing, and a driven action fits the robot."""
    for answer in subject.answers(attention=True):
        said = answer.said
        expect(said is None or isinstance(said, Drive | HandBack | Mark), f"it said {said!r}", "say one of the four")
        marked = not isinstance(said, Mark) or isinstance(said.outcome, Outcome)
        expect(marked, f"it said {said!r}", "mark with one of core's Outcome")
        if isinstance(said, Drive):
            fitting(np.asarray(said.action), subject.body.robot)


def silence(subject: OperatorSubject) -> None:
    """Without attention it does not drive."""
    for answer in subject.answers(attention=False):
        given = f"at tick {answer.tick} it said {type(answer.said).__name__}"
        expect(not isinstance(answer.said, Drive), given, "ask by `wants_attention`, and wait for `view.attention`")


def not_blocking(subject: OperatorSubject) -> None:
    """It never blocks: the median answer takes less than half a tick."""
    median = statistics.median(answer.took_s for answer in subject.answers(attention=True))
    half = 0.5 / subject.body.robot.spec.control_hz
    expect(median < half, f"it takes {median * 1e3:.1f} ms", "wait in a thread of your own, and look at its news")


CHECKS = (naming, starting, speaking, silence, not_blocking)
