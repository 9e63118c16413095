"""Simulated control steps per CPU second, expert and observation included, beside MuJoCo alone; images per CPU second.

Per task: whole undisturbed episodes of the expert at the nominal site, as the robot is driven (`action`, `act`,
`observe`). `mj_step` repeats the same controls with nothing but physics; grasps of the cloth and latches of the box are
left out there. Everything is in CPU seconds of this one process, so that other load matters little.
"""

import time
from typing import Any

import mujoco
import numpy as np

from fleetloop.core.clock import Virtual
from fleetloop.sim.render import POLICY_CAMERAS, Cameras, NoGL
from fleetloop.sim.robot import SimRobot
from fleetloop.sim.tasks import SIM_TASKS, SimTask
from shared.report import arguments, show, write


def measure(entry: SimTask, cpu_s: float, images_px: int) -> dict[str, Any]:
    """The figures of one task."""
    robot = SimRobot(Virtual(), reset_s=0.0)
    robot.reset(entry.task, 0)
    reset_s = step_s = physics_s = 0.0
    episodes = steps = 0
    while step_s < cpu_s:
        started = time.process_time()
        robot.reset(entry.task, episodes)
        reset_s += time.process_time() - started
        spent_s, controls = _drive(robot, entry.task.time_limit_s)
        step_s, steps, episodes = step_s + spent_s, steps + len(controls), episodes + 1
        robot.reset(entry.task, episodes - 1)
        physics_s += _physics(robot, controls)
    return {
        "task": entry.task.id,
        "steps_per_cpu_s": steps / step_s,
        "mj_step_alone": steps / physics_s,
        "share": physics_s / step_s,
        "reset_ms": 1e3 * reset_s / episodes,
        f"images_per_cpu_s_at_{images_px}": _images(robot, cpu_s, images_px),
    }


def _drive(robot: SimRobot, limit_s: float) -> tuple[float, list[Any]]:
    """CPU seconds of one episode, and the controls of its every tick."""
    controls: list[Any] = []
    spent = 0.0
    while not robot.success() and len(controls) < limit_s * robot.spec.control_hz:
        started = time.process_time()
        robot.act(robot.action())
        robot.observe()
        spent += time.process_time() - started
        controls.append(robot.scene.data.ctrl.copy())
    return spent, controls


def _physics(robot: SimRobot, controls: list[Any]) -> float:
    scene = robot.scene
    started = time.process_time()
    for control in controls:
        scene.data.ctrl[:] = control
        mujoco.mj_step(scene.model, scene.data, scene.substeps)
    return time.process_time() - started


def _images(robot: SimRobot, cpu_s: float, px: int) -> float:
    """Images per CPU second; 0 where there is no OpenGL."""
    try:
        with Cameras(robot.scene) as cameras:
            cameras.images(POLICY_CAMERAS, px)
            count, started = 0, time.process_time()
            while (spent := time.process_time() - started) < cpu_s / 2:
                count += len(cameras.images(POLICY_CAMERAS, px))
            return count / spent
    except NoGL:
        return 0.0


def main() -> None:
    parser = arguments(__doc__ or "", cpu_seconds=1.0, px=96)
    parser.add_argument("--tasks", default=",".join(SIM_TASKS), help="comma-separated")
    said = parser.parse_args()
    rows = [measure(SIM_TASKS[task], said.cpu_seconds, said.px) for task in said.tasks.split(",")]
    show("simulation, one process (share: of the step's time that is physics)", rows)
    rates = [row["steps_per_cpu_s"] for row in rows]
    write(said.report, {"tasks": rows, "steps_per_cpu_s_mean": float(np.mean(rates))})


if __name__ == "__main__":
    main()
