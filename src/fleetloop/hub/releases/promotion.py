"""From edge to stable: one candidate at a time through its gates, then through a canary.

A candidate is the newest release of edge when it is time for one, so that a newer one supersedes those that nobody has
looked at. It passes, in this order, the bound on its held-out loss, the user's command, and a sequential test of its
unaided successes on a few robots.
"""

import logging
from collections.abc import Iterator

from fleetloop.core.clock import Clock
from fleetloop.core.hub import EDGE, STABLE, RobotStatus
from fleetloop.core.release import Release
from fleetloop.core.steering import Steering, Tally
from fleetloop.hub.fleet import FleetBook
from fleetloop.hub.options import CanaryOptions, PromotionOptions
from fleetloop.hub.releases.releases import Releases
from fleetloop.hub.releases.sequential import SequentialTest
from fleetloop.hub.releases.trial_run import LAST_WORDS, TrialRun

log = logging.getLogger(__name__)

EVALUATION, CANARY = "evaluation", "canary"
AWAY = ("offline", "stopped")
AGAIN_S = 30.0
"""Clock seconds between two tries of a command that could not tell."""


class Promoter:
    """Advanced by `step`; what it has come to is in the steering, and outlives a restart."""

    def __init__(
        self, publishing: Releases, book: FleetBook, options: PromotionOptions, trial_run: TrialRun, clock: Clock
    ) -> None:
        self._publishing, self._helm, self._book = publishing, publishing.helm, book
        self._options, self._trial_run = options, trial_run
        now, steering = clock.now(), self._helm.steering
        self._undecided, self._again_s = "", now
        if max(steering.begun_s or 0.0, steering.stage_s) > now:  # the clock has restarted
            self._helm.begin_anew(now)

    def step(self, now: float) -> None:
        """Do what is due at `now` (clock seconds). Raises HubUnavailable if disk or database fail."""
        steering = self._helm.steering
        if self._trial_run.running and steering.stage != EVALUATION:
            self._trial_run.stop()  # a person has decided
        if steering.held:
            return
        if not steering.candidate:
            self._look_for_candidate(now, steering)
        elif now - steering.stage_s > self._options.patience_s:
            undecided = self._undecided if steering.stage == EVALUATION else ""
            late = f"no verdict of its {steering.stage} within {self._options.patience_s:.0f} s{undecided}"
            self._refuse(steering.candidate, late)
        elif steering.stage == EVALUATION:
            self._evaluate(now, steering.candidate)
        else:
            self._watch(now, steering)

    def close(self) -> None:
        self._trial_run.stop()

    # ------------------------------------------------------------------ a candidate sets out

    def _look_for_candidate(self, now: float, steering: Steering) -> None:
        edge = self._publishing.channel(EDGE, after=0)
        stable = self._publishing.channel(STABLE, after=0)
        if edge is None or (stable and edge.version <= stable.version) or str(edge.version) in steering.verdicts:
            return
        if stable is None:
            self._accept(edge.version, "the first one")  # there is nothing that it could be worse than
            return
        every_s = self._options.every_s or 0.0
        if steering.begun_s is not None and now - steering.begun_s < every_s:
            return
        if self._canary.robots and self._tally(stable.version, steering.since_event).episodes < self._canary.baseline:
            return
        self._undecided, self._again_s = "", now
        self._helm.enter(EVALUATION, now, after=0, candidate=edge.version, begun_s=now)
        log.info("release %d is the candidate", edge.version)

    # ------------------------------------------------------------------ its gates

    def _evaluate(self, now: float, version: int) -> None:
        # Asked anew at every step, so that a refusal that could not be written is not forgotten.
        if problem := self._held_out_problem(self._publishing.release(version)):
            self._refuse(version, problem)
        elif not self._options.command:
            self._begin_canary(now, version)
        else:
            self._heed_command(now, version)

    def _held_out_problem(self, candidate: Release) -> str:
        bound, stable = self._options.held_out_ratio, self._publishing.channel(STABLE, after=0)
        if bound is None or stable is None:
            return ""
        for task, before in stable.held_out.items():
            loss = candidate.held_out.get(task)
            if loss is None:
                return f"it tells no held-out loss on {task}, as stable does: its learner may have just begun"
            if loss > bound * before:
                return f"its held-out loss on {task} is {loss:.3g}, more than {bound:g} times stable's {before:.3g}"
        return ""

    def _compared(self) -> str:
        """What the bound on held-out losses was worth: it holds only for tasks of which stable tells one."""
        stable = self._publishing.channel(STABLE, after=0)
        if self._options.held_out_ratio is None or stable is None:
            return ""
        count = len(stable.held_out)
        return f"; held-out losses compared: {count}" if count else "; no held-out loss to compare"

    def _heed_command(self, now: float, version: int) -> None:
        if not self._trial_run.running:
            if now < self._again_s:
                return
            try:
                self._trial_run.start(version)
            except OSError as error:
                self._refuse(version, f"hub.promote.command can't be run ({error})")
            return
        result = self._trial_run.result()
        if result is None:
            return
        passed, said = result
        if passed is None:
            self._undecided, self._again_s = f" ({said})", now + AGAIN_S
            log.warning("release %d can't be measured now, it is tried again: %s", version, said)
        elif passed:
            self._begin_canary(now, version)
        else:
            self._refuse(version, f"hub.promote.command said no: {said}")

    # ------------------------------------------------------------------ the canary

    @property
    def _canary(self) -> CanaryOptions:
        return self._options.canary

    def _begin_canary(self, now: float, version: int) -> None:
        if not self._canary.robots:
            self._accept(version, f"passed its gates{self._compared()}")
            return
        robots = self._free_robots()[: self._canary.robots]
        if not robots:
            return  # patience says how long
        stable = self._publishing.channel(STABLE, after=0)
        assert stable is not None, "the first release is stable at once"
        known = self._tally(stable.version, self._helm.steering.since_event)
        # A rate of 1 that a few episodes seem to have would refuse whatever fails once.
        expected = (known.unaided + 1) / (known.episodes + 2)
        self._helm.enter(CANARY, now, after=version, robots=robots, expected=expected)
        log.info("release %d is tried on %s", version, ", ".join(robots))

    def _free_robots(self) -> tuple[str, ...]:
        """Those that are there, that nobody has pinned."""
        pins, members = self._helm.steering.pins, self._book.view().members
        there = [member for member in members if member.status and member.status.phase not in AWAY]
        return tuple(member.registration.robot for member in there if member.registration.robot not in pins)

    def _watch(self, now: float, steering: Steering) -> None:
        for status in self._those_that_refuse(steering):
            self._refuse(steering.candidate, f"{status.robot} can't run it: {status.alarm}"[:LAST_WORDS])
            return
        tally, canary = self._tally(steering.candidate, steering.stage_event), self._canary
        test = SequentialTest(steering.expected, canary.worse_by, canary.false_alarm, canary.miss, most=canary.episodes)
        verdict = test.verdict(tally.unaided, tally.episodes)
        if verdict is None:
            return
        found = f"{tally.unaided} of {tally.episodes} without help, {steering.expected:.2f} expected"
        if verdict:
            self._accept(steering.candidate, f"passed its canary: {found}{self._compared()}")
        else:
            self._refuse(steering.candidate, f"its canary: {found}")

    def _those_that_refuse(self, steering: Steering) -> Iterator[RobotStatus]:
        statuses = (member.status for member in self._book.view().members)
        trying = (status for status in statuses if status and status.robot in steering.robots)
        return (status for status in trying if status.refused == steering.candidate)

    def _tally(self, version: int, after: int) -> Tally:
        found = (tally for tally in self._publishing.tallies(after) if tally.release == version)
        return next(found, Tally(version, 0, 0, 0, 0))

    # ------------------------------------------------------------------ verdicts

    def _accept(self, version: int, verdict: str) -> None:
        self._helm.accept(version, verdict)
        log.info("release %d is stable: %s", version, verdict)

    def _refuse(self, version: int, verdict: str) -> None:
        log.warning("release %d was refused: %s", version, verdict)
        self._trial_run.stop()
        self._helm.refuse(version, verdict)
