"""One attempt at one task: what happens at a tick, and when it is over. The actor and rollouts share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fleetloop.actor.executor import ChunkExecutor, Due
from fleetloop.actor.handover import Decision, Driver, Handover
from fleetloop.actor.inference import Pilot
from fleetloop.core.clock import Clock
from fleetloop.core.episode import Ending
from fleetloop.core.errors import FleetLoopError, RobotTrouble, UnknownName
from fleetloop.core.frame import FloatArray, Frame, Observation, Source
from fleetloop.core.judge import Briefed, Judge
from fleetloop.core.operator import View
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import OffersStill, Robot, as_specified, check_sent
from fleetloop.core.task import Task


@dataclass
class Tally:
    """What an attempt, or many, came to so far."""

    frames: int = 0
    frames_human: int = 0
    interventions: int = 0
    ticks_missed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.frames + other.frames,
            self.frames_human + other.frames_human,
            self.interventions + other.interventions,
            self.ticks_missed + other.ticks_missed,
        )


class Attempt:
    """From the end of a reset to an ending.

    Attributes:
        ending: None while the attempt goes on.
        horizon: ticks that a chunk of its policy reaches; 0 without a policy.
        starved: whether the policy was to drive at the last tick and had no action for it; but for the pause until its
            first chunk after somebody else drove, a horizon at most.
    """

    def __init__(
        self,
        robot: Robot,
        *,
        judge: Judge,
        clock: Clock,
        executor: ChunkExecutor,
        handover: Handover,
        pilot: Pilot | None,
        task: Task,
        instruction: str,
        takeover_grace: float,
    ) -> None:
        self._robot, self._judge, self._clock = robot, judge, clock
        self._executor, self._handover = executor, handover
        self._release = pilot.release if pilot else 0
        self.horizon = pilot.policy.spec.horizon if pilot else 0
        self._limit_ticks = task.time_limit_s * robot.spec.control_hz
        self._takeover_grace = takeover_grace
        self._waited = 0
        self._last: FloatArray | None = None
        self._last_source: Source | None = None
        self.tally = Tally()
        self.ending: Ending | None = None
        self.starved, self._pause_until = False, 0
        executor.start(pilot, instruction)
        handover.start(instruction)
        if isinstance(judge, Briefed):
            judge.start(task, instruction)

    def ready(self) -> bool:
        """Whether the first chunk is there. Asked tick by tick while the robot stands still; tick 0 comes after.

        Raises RobotTrouble.
        """
        there = self._executor.await_first(self._waited, self._observe())
        self._waited += 1
        return there

    def swap(self, pilot: Pilot) -> None:
        """Go on under another release at the next boundary between chunks."""
        self._release = pilot.release
        self._executor.swap(pilot)

    def tick(self, tick: int, attention: bool) -> Frame | None:
        """Drive one tick and return what is to be recorded.

        None if nothing was sent: the operator has ended the attempt, or nobody has yet said anything to hold on to.

        Raises RobotTrouble: what the robot raises on purpose, told from what operator, judge and policy raise.
        """
        observation = self._observe()
        due = self._propose(tick, observation)
        decision = self._handover.decide(self._view(tick, observation, due, attention))
        if decision.mark is not None:
            self.end(decision.mark, Rank.PERSON)
            return None
        if decision.changed:
            self._executor.raise_epoch()
            due = self._propose(tick, observation)
        self._note_gap(tick, decision, due)
        requested, source = self._choose(decision, due)
        frame = None if requested is None else self._send(tick, observation, requested, source, due)
        self._conclude(tick, observation, decision.driver)
        return frame

    def end(self, outcome: Outcome, rank: Rank) -> Ending:
        self.ending = Ending(outcome, rank, self.tally.ticks_missed)
        return self.ending

    def _observe(self) -> Observation:
        with _at_the_robot():
            return as_specified(self._robot.spec, self._robot.observe())

    def _note_gap(self, tick: int, decision: Decision, due: Due | None) -> None:
        if decision.changed:
            self._pause_until = tick + self.horizon
        if due is not None:
            self._pause_until = tick
        self.starved = decision.driver is Driver.POLICY and due is None and tick >= self._pause_until

    def _propose(self, tick: int, observation: Observation) -> Due | None:
        # While a human drives, the policy goes on saying what it would do: agreement is a reason to hand back.
        return None if self._handover.driver is Driver.HOLD else self._executor.advance(tick, observation)

    def _view(self, tick: int, observation: Observation, due: Due | None, attention: bool) -> View:
        return View(
            tick,
            observation,
            due.action if due else None,
            attention,
            self._handover.driver is Driver.HUMAN,
            tick / self._limit_ticks,
        )

    def _choose(self, decision: Decision, due: Due | None) -> tuple[FloatArray | None, Source]:
        if decision.driver is Driver.HUMAN and decision.action is not None:
            return decision.action, Source.HUMAN
        if decision.driver is Driver.POLICY and due is not None:
            return due.action, Source.POLICY
        return self._held(), Source.HOLD

    def _held(self) -> FloatArray | None:
        if self._last is None or not isinstance(self._robot, OffersStill):
            return self._last
        with _at_the_robot():
            still = self._robot.still()
            check_sent(self._robot.spec, still, "still")
        return still

    def _send(
        self, tick: int, observation: Observation, requested: FloatArray, source: Source, due: Due | None
    ) -> Frame:
        now, wall = self._clock.now(), self._clock.wall()
        with _at_the_robot():
            sent = self._robot.act(requested)
            check_sent(self._robot.spec, sent)
        self._count(source)
        self._last, self._last_source = sent, source
        if due is None or source is not Source.POLICY:
            return Frame(tick, now, wall, observation, requested, sent, source, self._release, -1, -1)
        # Its chunk's release, which at a swap is for a while the one before.
        return Frame(tick, now, wall, observation, requested, sent, source, due.release, due.chunk_id, due.chunk_index)

    def _count(self, source: Source) -> None:
        self.tally.frames += 1
        if source is Source.HUMAN:
            self.tally.frames_human += 1
            self.tally.interventions += self._last_source is not Source.HUMAN

    def _conclude(self, tick: int, observation: Observation, driver: Driver) -> None:
        outcome = _outcome(self._judge.verdict(observation))
        limit = self._limit_ticks * (self._takeover_grace if driver is Driver.HUMAN else 1.0)
        if outcome is not None:
            self.end(outcome, self._judge.rank)
        elif tick + 1 >= limit:
            self.end(Outcome.TIMEOUT, Rank.NOBODY)


def _outcome(said: str | None) -> Outcome | None:
    """Raises UnknownName for a verdict that is none; a text that is one passes."""
    try:
        return None if said is None else Outcome(said)
    except ValueError as error:
        raise UnknownName("verdict", f"is {said!r}", f"say None, or one of {', '.join(Outcome)}") from error


@contextmanager
def _at_the_robot() -> Iterator[None]:
    try:
        yield
    except FleetLoopError as error:
        raise RobotTrouble(error.field, error.problem, error.remedy) from error
