"""The contract of an operator."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fleetloop.cli.check.findings import expect
from fleetloop.core.operator import Drive, HandBack, Mark, Operator, View
from fleetloop.core.robot import Robot
from fleetloop.core.task import Task

TICKS = 60


@dataclass(frozen=True)
class Answer:
    """What it said at a tick, and how many real seconds it took to say so."""

    tick: int
    said: object
    took_s: float


@dataclass(frozen=True)
class OperatorSubject:
    operator: Operator
    robot: Robot
    task: Task

    def answers(self, *, attention: bool) -> Iterator[Answer]:
        """An episode whose policy never does anything useful; while it has attention, what it drives is sent."""
        start = self.robot.reset(self.task, 1)
        self.operator.start(start.instruction)
        still, driving = np.zeros(self.robot.spec.action.shape, np.float32), False
        for tick in range(TICKS):
            view = View(tick, self.robot.observe(), still, attention, driving, tick / TICKS)
            began = time.perf_counter()
            said = self.operator.watch(view)
            yield Answer(tick, said, time.perf_counter() - began)
            driving = attention and isinstance(said, Drive)
            self.robot.act(said.action if attention and isinstance(said, Drive) else still)


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
    shape = subject.robot.spec.action.shape
    for answer in subject.answers(attention=True):
        said = answer.said
        expect(said is None or isinstance(said, Drive | HandBack | Mark), f"it said {said!r}", "say one of the four")
        if isinstance(said, Drive):
            action = np.asarray(said.action)
            given = f"it drives with {action.dtype}{list(action.shape)}"
            expect((action.shape, action.dtype.name) == (shape, "float32"), given, f"send float32{list(shape)}")
            expect(bool(np.isfinite(action).all()), "it drives with numbers that are not finite", "send finite ones")


def silence(subject: OperatorSubject) -> None:
    """Without attention it does not drive and ends nothing."""
    for answer in subject.answers(attention=False):
        given = f"at tick {answer.tick} it said {type(answer.said).__name__}"
        expect(
            not isinstance(answer.said, Drive | Mark), given, "ask by `wants_attention`, and wait for `view.attention`"
        )


def not_blocking(subject: OperatorSubject) -> None:
    """It never blocks: the median answer takes less than half a tick."""
    median = statistics.median(answer.took_s for answer in subject.answers(attention=True))
    half = 0.5 / subject.robot.spec.control_hz
    expect(median < half, f"it takes {median * 1e3:.1f} ms", "wait in a thread of your own, and look at its news")


CHECKS = (naming, starting, speaking, silence, not_blocking)
