"""One episode as a film: of the scripted expert or of a policy."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetloop.actor.executor import ChunkExecutor
from fleetloop.actor.inference import ImmediateInference, Pilot
from fleetloop.actor.options import ActorOptions
from fleetloop.core.clock import Virtual
from fleetloop.core.errors import ConfigInvalid, SystemMissing
from fleetloop.core.policy import under_robot_names
from fleetloop.core.spec import check_fit
from fleetloop.lab.candidate import Candidate
from fleetloop.lab.evaluation import INFERENCE_DELAY_TICKS
from fleetloop.lab.stage import Stage
from fleetloop.sim.render import FORMATS, NoGL, record
from fleetloop.sim.robot import CAMERAS, SimRobot
from fleetloop.sim.scene import CALM, DISTURBED
from fleetloop.sim.tasks import sim_task

Act = Callable[[], npt.NDArray[np.float64]]


def film(
    task_id: str,
    candidate: Candidate | None,
    path: Path,
    *,
    options: ActorOptions,
    site: int = 0,
    seed: int = 0,
    disturb: bool = False,
    px: int = 320,
    cameras: Sequence[str] = ("front",),
) -> tuple[str, bool]:
    """Film an episode; without a candidate, the expert's. Returns the instruction and whether the task succeeded.

    `options`: how the fleet's robots are driven.

    Raises:
        UnknownName: for a task that is not simulated.
        ConfigInvalid: for a camera or a file format that there isn't.
        SpecMismatch: for a policy of another robot.
        SystemMissing: if there is no OpenGL.
    """
    task = sim_task(task_id).task
    if path.suffix not in FORMATS:
        raise ConfigInvalid("--out", f"{path} is no film", f"let it end in {' or '.join(FORMATS)}")
    known = ("front", *CAMERAS)
    if not cameras or not set(cameras) <= set(known):
        raise ConfigInvalid("--cameras", f"{', '.join(cameras)!r} is unknown", f"known: {', '.join(known)}")
    px_seen = candidate.image_px if candidate else 0
    robot = SimRobot(Virtual(), site, disturbance=DISTURBED if disturb else CALM, image_px=px_seen, reset_s=0.0)
    stage = Stage(robot)
    start = stage.reset(task, seed)
    if candidate is None:
        act = _expert(robot)
    else:
        check_fit(robot.spec, candidate.spec)
        policy, condition = under_robot_names(candidate.acting()), candidate.acts_on(options.condition)
        pilot = Pilot(policy, candidate.release, np.random.default_rng(seed), condition)
        act = _policy(pilot, options.lead, stage, start.instruction)
    try:
        success = record(robot.scene, act, path, seconds=task.time_limit_s, cameras=cameras, px=px)
    except NoGL as error:
        raise SystemMissing("OpenGL", str(error)) from error
    return start.instruction, success


def _expert(robot: SimRobot) -> Act:
    return lambda: robot.action().reshape(2, 5).astype(float)


def _policy(pilot: Pilot, lead: int, stage: Stage, instruction: str) -> Act:
    executor = ChunkExecutor(ImmediateInference(INFERENCE_DELAY_TICKS), lead)
    executor.start(pilot, instruction)
    waited = 0
    while not executor.await_first(waited, stage.observe()):
        waited += 1
    ticks = iter(range(10**9))

    def act() -> npt.NDArray[np.float64]:
        due = executor.advance(next(ticks), stage.observe())
        assert due is not None, "with a delay shorter than a chunk there always is a next action"
        return due.action.reshape(2, 5).astype(float)

    return act
