"""The contract of a judge."""

from dataclasses import dataclass

from fleetloop.actor.options import ActorOptions
from fleetloop.actor.rollout import rollout
from fleetloop.cli.check.findings import expect
from fleetloop.cli.check.robot import RobotSubject
from fleetloop.core.judge import Judge
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import OffersExpert
from fleetloop.lab.stage import ExpertOperator

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class JudgeSubject:
    judge: Judge
    body: RobotSubject


def ranking(subject: JudgeSubject) -> None:
    """It says in what capacity it judges."""
    rank = subject.judge.rank
    known = ", ".join(rank.name for rank in Rank)
    expect(isinstance(rank, Rank), f"`rank` is {rank!r}", f"make it one of core's Judge: {known}")


def beginning(subject: JudgeSubject) -> None:
    """Right after a reset no episode has ended, and asking twice changes nothing."""
    for seed in SEEDS:
        seen = subject.body.fresh(seed)
        said = [subject.judge.verdict(seen), subject.judge.verdict(seen)]
        ended = f"it says {said[0] or said[1]!r} before anything was done"
        expect(said == [None, None], ended, "judge this episode alone: nothing may be left over from the last")


def ending(subject: JudgeSubject) -> None:
    """An expert's attempt ends in success in one of a few tries."""
    robot, task = subject.body.robot, subject.body.task
    if not isinstance(robot, OffersExpert):
        return
    options = ActorOptions(takeover_grace=1)
    ended = [
        rollout(robot, None, task, seed, judge=subject.judge, operator=ExpertOperator(robot), options=options)
        for seed in SEEDS
    ]
    said = ", ".join(result.outcome for result in ended)
    expect(any(result.outcome is Outcome.SUCCESS for result in ended), f"it said {said}", "look at what it goes by")


CHECKS = (ranking, beginning, ending)
