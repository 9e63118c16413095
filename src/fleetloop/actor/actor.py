"""The actor: one robot, one episode after the other."""

import logging
import threading

from fleetloop.actor.attempt import Attempt, Tally
from fleetloop.actor.attention import Attention
from fleetloop.actor.executor import ChunkExecutor
from fleetloop.actor.exploring import Exploring
from fleetloop.actor.handover import Handover
from fleetloop.actor.inference import Inference, Pilot
from fleetloop.actor.loader import Loaded
from fleetloop.actor.options import ActorOptions
from fleetloop.actor.plan import Assignment, plan
from fleetloop.actor.recorder import Recorder
from fleetloop.actor.watch import Watch
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.errors import FleetLoopError, RobotTrouble
from fleetloop.core.frame import Source
from fleetloop.core.hub import Orders, RobotStatus
from fleetloop.core.ids import new_id
from fleetloop.core.judge import Judge
from fleetloop.core.operator import Operator
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import EpisodeStart, Robot

log = logging.getLogger(__name__)

# A tick that is due counts as due in spite of the last digit of a floating-point deadline.
ROUNDING_TICKS = 1e-6
STUCK_S = 3.0
"""Clock seconds after its due time at which a step that has not come hangs: it must not keep an operator."""


class Actor:
    """Advanced by `step`, which touches neither disk nor network and never waits for inference.

    Phases: `waiting` for a first release; `resetting` until the robot is reset, the episode before is durable, the
    newest release is loaded and its first chunk is there; `running`; `stopped`. Releases change while resetting; where
    `swap` is `chunk`, also while running.

    The control loop calls `step` and `stop`. The rest is for the clerk's thread.

    Attributes:
        due: clock seconds at which `step` wants to be called next.
        proven: the version that has driven last; 0 before the first.
    """

    def __init__(
        self,
        assignment: Assignment,
        robot: Robot,
        *,
        operator: Operator,
        judge: Judge,
        inference: Inference,
        recorder: Recorder,
        clock: Clock,
        options: ActorOptions,
        alarms: Alarms,
    ) -> None:
        self._assignment, self._robot, self._operator, self._judge = assignment, robot, operator, judge
        self._recorder, self._clock, self._options, self._alarms = recorder, clock, options, alarms
        self._hz = robot.spec.control_hz
        self._inference = inference
        self._executor = ChunkExecutor(inference, options.lead)
        self._watch = Watch(robot.spec, inference, options, alarms)
        self._handover = Handover(operator, round(options.lost_hold_s * self._hz), robot.spec.action.shape, alarms)
        self._lock = threading.Lock()
        self._attention = Attention(assignment.robot, options, alarms)
        self._loaded: Loaded | None = None
        self._driving: Loaded | None = None
        self._wants_release, self._told_of_waiting = True, False
        self._phase = "waiting"
        self._index = 0
        self._total = Tally()
        self._successes = 0
        self._lateness_s = 0.0
        self._plan = plan(assignment, 0, options.task_order)
        self._start: EpisodeStart | None = None
        self._attempt: Attempt | None = None
        self._episode = ""
        self._began = 0.0
        self._tick = self.proven = 0
        self.due = clock.now()

    # ------------------------------------------------------------------ the control loop

    @property
    def running(self) -> bool:
        """Whether an episode runs, so that the next tick must not be late."""
        return self._phase == "running"

    def step(self, now: float) -> None:
        """Do what is due. Raises what operator, judge and policy raise, and of the robot what is no FleetLoopError."""
        try:
            self._advance(now)
        except RobotTrouble as error:
            self._give_up(error, now)

    def _advance(self, now: float) -> None:
        if self.running:
            self._drive(now)
        elif self._loaded is None:
            self._wait(now)
        elif self._start is None:
            self._reset(now)
        else:
            self._prepare(now)

    def stop(self) -> None:
        """End the running episode as aborted, and do no more."""
        if self.running and self._attempt is not None:
            self._finish(self._attempt.end(Outcome.ABORTED, Rank.NOBODY))
        self._phase = "stopped"

    def _wait(self, now: float) -> None:
        if not self._told_of_waiting:
            log.info("%s waits for a first release", self._assignment.robot)
            self._told_of_waiting = True
        if not self.wants_release:
            self._ask_release()
        self.due = now + self._options.wait_s

    def _reset(self, now: float) -> None:
        self._phase = "resetting"
        try:
            self._start = self._robot.reset(self._plan.task, self._plan.seed)
        except FleetLoopError as error:
            self._alarms.set("reset", f"failed, tries again: {error}")
            self.due = now + self._options.reset_retry_s
            return
        self._alarms.clear("reset")
        self._ask_release()  # one may have come during a long reset
        self.due = self._clock.now()

    def _prepare(self, now: float) -> None:
        """Begin as soon as the last episode is durable, the newest release is in place and its first chunk is there."""
        self.due = now + 0.5 / self._hz
        if self.wants_release or not self._recorder.settled:
            return
        if self._attempt is None:
            self._attempt = self._new_attempt()
        if self._attempt.ready():
            self._begin()

    def _give_up(self, error: RobotTrouble, now: float) -> None:
        """The robot has failed: end its episode, if one runs, and go on with a reset."""
        self._alarms.set("robot", f"{error}; it is reset, and the running episode aborted")
        if self.running and self._attempt is not None:
            self._finish(self._attempt.end(Outcome.ABORTED, Rank.NOBODY))
        with self._lock:
            self._attempt = None
        self._start = None
        self.due = now + self._options.reset_retry_s

    def _pilot(self, loaded: Loaded) -> Pilot:
        policy = loaded.policy
        if self._options.exploration:
            policy = Exploring(policy, self._options.exploration)
        return Pilot(policy, loaded.release.version, self._plan.rng, loaded.condition)

    def _new_attempt(self) -> Attempt:
        assert self._loaded is not None
        assert self._start is not None
        self._driving = self._loaded
        return Attempt(
            self._robot,
            judge=self._judge,
            clock=self._clock,
            executor=self._executor,
            handover=self._handover,
            pilot=self._pilot(self._driving),
            task=self._plan.task,
            instruction=self._start.instruction,
            takeover_grace=self._options.takeover_grace,
        )

    def _begin(self) -> None:
        self._began, self._tick = self._clock.now(), 0
        self.due = self._began
        meta = self._meta()
        self._recorder.begin(meta)
        self._alarms.clear("robot")
        assert self._driving is not None
        self.proven = self._driving.release.version
        with self._lock:
            self._episode, self._lateness_s, self._phase = meta.id, 0.0, "running"

    def _drive(self, now: float) -> None:
        attempt = self._attempt
        assert attempt is not None
        tick = max(self._tick, int((now - self._began) * self._hz + ROUNDING_TICKS))
        attempt.tally.ticks_missed += tick - self._tick
        self._lateness_s = max(self._lateness_s, now - self.due)
        self._swap_if_newer(attempt)
        frame = attempt.tick(tick, self._attention.held(now))
        self._tick = tick + 1
        self.due = self._began + self._tick / self._hz
        self._watch.note(attempt, frame, now)
        if frame is not None and frame.source is Source.POLICY:
            self.proven = frame.release
        if frame is not None and not self._recorder.add(frame):
            attempt.end(Outcome.ABORTED, Rank.NOBODY)
        if attempt.ending is not None:
            self._finish(attempt.ending)

    def _swap_if_newer(self, attempt: Attempt) -> None:
        loaded = self._loaded
        if self._options.swap == "chunk" and loaded is not None and loaded is not self._driving:
            self._driving = loaded
            attempt.swap(self._pilot(loaded))

    def _finish(self, ending: Ending) -> None:
        assert self._attempt is not None
        self._recorder.end(ending)
        self._index += 1
        with self._lock:
            self._total = self._total + self._attempt.tally
            self._successes += ending.outcome is Outcome.SUCCESS
            self._attempt, self._episode, self._phase = None, "", "resetting"
        self._plan = plan(self._assignment, self._index, self._options.task_order)
        self._start = None
        self._ask_release()
        self.due = self._clock.now()

    def _meta(self) -> EpisodeMeta:
        assert self._start is not None
        wall = self._clock.wall()
        return EpisodeMeta(
            id=new_id(wall, self._plan.id_rng),
            run=self._assignment.run,
            robot=self._assignment.robot,
            site=self._assignment.site,
            task=self._plan.task.id,
            instruction=self._start.instruction,
            purpose=self._assignment.purpose,
            spec=self._robot.spec,
            operator=self._operator.name,
            seed=self._plan.seed,
            reset_s=self._start.reset_s,
            clock=self._clock.name,
            clock_offset_s=wall - self._began,
        )

    def _ask_release(self) -> None:
        with self._lock:
            self._wants_release = True

    # ------------------------------------------------------------------ the clerk's side

    @property
    def wants_release(self) -> bool:
        """Whether the actor waits to be told the newest sound release, or would take one at any time."""
        with self._lock:
            return self._wants_release or (self._phase == "running" and self._options.swap == "chunk")

    def offer(self, loaded: Loaded | None) -> None:
        """The newest sound release; None if there is none yet."""
        with self._lock:
            self._loaded, self._wants_release = loaded, False

    def obey(self, orders: Orders) -> None:
        self._attention.obey(orders)

    def look_for_the_hub(self, wall_s: float) -> None:
        """Notice that no orders come any more. `wall_s`: real seconds on any steady clock."""
        self._attention.look(self.status().wants_attention, wall_s)

    def status(self) -> RobotStatus:
        """How the robot is. Counts of the running episode are those of a moment ago."""
        late_s = self._clock.now() - self.due
        with self._lock:
            running = self._phase == "running"
            stuck = f"control: no tick for {late_s:.0f} s: a call to the robot hangs" if late_s > STUCK_S else ""
            tally = self._total + self._attempt.tally if self._attempt else self._total
            return RobotStatus(
                robot=self._assignment.robot,
                phase=self._phase,
                task=self._plan.task.id,
                episode=self._episode,
                release=self._loaded.release.version if self._loaded else 0,
                episodes=self._index,
                successes=self._successes,
                interventions=tally.interventions,
                frames=tally.frames,
                frames_human=tally.frames_human,
                ticks_missed=tally.ticks_missed,
                lateness_s=self._lateness_s,
                chunk_s=self._inference.took_s,
                wants_attention=running and not stuck and self._operator.wants_attention,
                operator=self._operator.name,
                alarm="; ".join(filter(None, (stuck if running else "", self._alarms.text))),
            )
