"""The contract of a judge."""

import statistics
import time
from dataclasses import dataclass

from fleetloop.actor.options import ActorOptions
from fleetloop.actor.rollout import rollout
from fleetloop.cli.check.findings import expect, left_alone
from fleetloop.cli.check.robot import TICKS, RobotSubject
from fleetloop.core.frame import Observation
from fleetloop.core.judge import Briefed, Judge
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import OffersExpert
from fleetloop.lab.stage import ExpertOperator

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class JudgeSubject:
    judge: Judge
    body: RobotSubject

    def fresh(self, seed: int = SEEDS[0]) -> Observation:
        """What is observed right after a reset, of which the judge has been told."""
        start = self.body.robot.reset(self.body.task, seed)
        if isinstance(self.judge, Briefed):
            self.judge.start(self.body.task, start.instruction)
        return self.body.robot.observe()


def ranking(subject: JudgeSubject) -> None:
    """It says in what capacity it judges."""
    rank = subject.judge.rank
    known = ", ".join(rank.name for rank in Rank)
    expect(isinstance(rank, Rank), f"`rank` is {rank!r}", f"make it one of core's Judge: {known}")


def beginning(subject: JudgeSubject) -> None:
    """Right after a reset no episode has ended, and asking twice changes nothing."""
    for seed in SEEDS:
        seen = subject.fresh(seed)
        with left_alone(seen):
            said = [subject.judge.verdict(seen), subject.judge.verdict(seen)]
        ended = f"it says {said[0] or said[1]!r} before anything was done"
        expect(
            said == [None, None],
            ended,
            "judge this episode alone: `start(task, instruction)`, if it offers that, begins it",
        )


def ending(subject: JudgeSubject) -> None:
    """An expert's attempt at a simulated robot ends in success in one of a few tries, unless nobody judges."""
    robot, task = subject.body.robot, subject.body.task
    if not (subject.body.simulated and isinstance(robot, OffersExpert)) or subject.judge.rank is Rank.NOBODY:
        return
    options = ActorOptions(takeover_grace=1)
    ended = [
        rollout(robot, None, task, seed, judge=subject.judge, operator=ExpertOperator(robot), options=options)
        for seed in SEEDS
    ]
    said = ", ".join(result.outcome for result in ended)
    expect(any(result.outcome is Outcome.SUCCESS for result in ended), f"it said {said}", "look at what it goes by")


def not_blocking(subject: JudgeSubject) -> None:
    """It never blocks: the median verdict takes less than half a tick."""
    robot = subject.body.robot
    subject.fresh()
    median = statistics.median(_verdict_s(subject.judge, robot.observe()) for _ in subject.body.ticks(TICKS))
    half = 0.5 / robot.spec.control_hz
    expect(median < half, f"it takes {median * 1e3:.1f} ms", "judge in a thread of your own, and say its last word")


CHECKS = (ranking, ending, beginning, not_blocking)  # an ended episode goes before: nothing of it may be left over


def _verdict_s(judge: Judge, seen: Observation) -> float:
    began = time.perf_counter()
    judge.verdict(seen)
    return time.perf_counter() - began
