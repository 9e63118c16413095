"""One episode as fast as the machine can, with the executor and the handover that a robot is driven by."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fleetloop.actor.attempt import Attempt
from fleetloop.actor.executor import ChunkExecutor
from fleetloop.actor.handover import Handover, Nobody
from fleetloop.actor.inference import ImmediateInference, Pilot
from fleetloop.actor.options import ActorOptions
from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock, Virtual
from fleetloop.core.judge import Judge
from fleetloop.core.operator import Operator
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome
from fleetloop.core.policy import ActingPolicy, under_robot_names
from fleetloop.core.robot import EpisodeStart, Robot
from fleetloop.core.task import Task


@dataclass(frozen=True)
class RolloutResult:
    """How one episode went. `ticks` is its length; `frames_human` of them were driven by the operator."""

    outcome: Outcome
    judge: Rank
    instruction: str
    ticks: int
    frames: int
    frames_human: int
    interventions: int


def rollout(
    robot: Robot,
    policy: ActingPolicy | None,
    task: Task,
    seed: int,
    *,
    judge: Judge,
    operator: Operator | None = None,
    inference_delay_ticks: int = 1,
    record: Callable[[EpisodeStart], EpisodeWriter] | None = None,
    release: int = 0,
    options: ActorOptions | None = None,
    clock: Clock | None = None,
) -> RolloutResult:
    """Run one episode to its end.

    The operator, if there is one, always has attention. Without a policy it must drive from the first tick: that is
    how demonstrations are recorded.

    Args:
        inference_delay_ticks: after so many ticks a chunk counts as computed.
        record: makes the writer once the reset has said what the instruction is.
        release: the version that recorded frames name.
        clock: a fresh Virtual one by default.
    """
    options, clock = options or ActorOptions(), clock or Virtual()
    hz = robot.spec.control_hz
    start = robot.reset(task, seed)
    pilot = None
    if policy is not None:
        pilot = Pilot(under_robot_names(policy), release, np.random.default_rng(seed), options.condition or None)
    executor = ChunkExecutor(ImmediateInference(inference_delay_ticks), options.lead)
    handover = Handover(operator or Nobody(), round(options.lost_hold_s * hz), robot.spec.action.shape, Alarms())
    attempt = Attempt(
        robot,
        judge=judge,
        clock=clock,
        executor=executor,
        handover=handover,
        pilot=pilot,
        task=task,
        instruction=start.instruction,
        takeover_grace=options.takeover_grace,
    )
    while not attempt.ready():
        pass
    writer = record(start) if record else None
    ticks, began = 0, clock.now()
    while attempt.ending is None:
        frame = attempt.tick(ticks, attention=operator is not None)
        if writer is not None and frame is not None:
            writer.add(frame)
        ticks += 1
        clock.sleep_until(began + ticks / hz)
    if writer is not None:
        writer.finish(attempt.ending)
    tally = attempt.tally
    return RolloutResult(
        attempt.ending.outcome,
        attempt.ending.judge,
        start.instruction,
        ticks,
        tally.frames,
        tally.frames_human,
        tally.interventions,
    )
