"""The rooms' parts, built from the configuration. The commands and the demo share it.

Simulation and torch are imported where they are needed: a courier's host may have neither.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetloop.actor.loader import LoadPolicy
from fleetloop.actor.plan import Assignment
from fleetloop.cli.config import AlgorithmChoice, FleetConfig, OperatorChoice, PolicyChoice, SimulationOptions
from fleetloop.cli.config import chosen_options as options_of
from fleetloop.core.algorithm import Algorithm
from fleetloop.core.clock import Clock, Scaled, Wall
from fleetloop.core.errors import ConfigInvalid, SystemMissing
from fleetloop.core.operator import Operator
from fleetloop.core.plugins import plugin
from fleetloop.core.policy import ActingPolicy
from fleetloop.core.release import Release
from fleetloop.core.spec import RobotSpec
from fleetloop.core.task import Site, Task
from fleetloop.hub.client import HttpHub
from fleetloop.judges.simulator import SimulatorJudge
from fleetloop.operators.keyboard import KeyboardOperator
from fleetloop.weights.codec import Weights

if TYPE_CHECKING:
    from fleetloop.sim.robot import SimRobot
    from fleetloop.sim.scene import Disturbance


def one_thread() -> None:
    """Keep numpy and torch to one thread in this process and its children: call it before they are first imported.

    A small policy gains nothing from more, and the processes of a fleet would take the cores from each other.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def open_hub(url: str) -> HttpHub:
    """A client of the hub at this URL; nothing is sent yet."""
    return HttpHub(url)


def clock_from(file: Path | None, *, create_factor: float | None = None) -> Clock:
    """Real time, or the scaled clock that the file shares; created at `create_factor` if there is none yet.

    Raises:
        SystemMissing: if the file is not there and `create_factor` is not given.
    """
    if file is None:
        return Wall()
    try:
        if create_factor is not None and not file.exists():
            return Scaled.create(file, create_factor)
        return Scaled(file)
    except (OSError, ValueError) as error:
        raise SystemMissing(
            f"clock file {file}", f"can't be used ({error})", "start the hub first: it creates the file"
        ) from error


def build_robot(simulation: SimulationOptions, site: int, clock: Clock) -> "SimRobot":
    """A simulated robot at a site."""
    from fleetloop.sim.robot import SimRobot

    return SimRobot(
        clock, site, disturbance=disturbance(simulation), image_px=simulation.image_px, reset_s=simulation.reset_s
    )


def disturbance(simulation: SimulationOptions) -> "Disturbance":
    """What happens to a simulated robot."""
    from fleetloop.sim.scene import CALM, Disturbance

    return Disturbance(noise=simulation.noise_m) if simulation.disturbed else CALM


def build_operator(choice: OperatorChoice, robot: "SimRobot") -> Operator:
    """The operator that the configuration names; the scripted one gets the robot's own expert (privileged)."""
    options, kind = options_of("operators", choice), plugin("operators", choice.name)
    if choice.name == "scripted":
        return kind(options, robot)  # type: ignore[no-any-return]
    if choice.name == "keyboard":
        return kind(options, robot.spec)  # type: ignore[no-any-return]
    return kind(options) if options else kind()  # type: ignore[no-any-return]


@contextmanager
def operator_at(choice: OperatorChoice, robot: "SimRobot") -> Iterator[Operator]:
    """The same, and its terminal is given back at the end, if it has taken one."""
    operator = build_operator(choice, robot)
    try:
        yield operator
    finally:
        if isinstance(operator, KeyboardOperator):
            operator.close()


def build_judge(robot: "SimRobot") -> SimulatorJudge:
    return SimulatorJudge(robot.success)


def build_algorithm(choice: AlgorithmChoice) -> Algorithm:
    options, kind = options_of("algorithms", choice), plugin("algorithms", choice.name)
    return kind(options)  # type: ignore[no-any-return]


def build_policy(choice: PolicyChoice, robot: RobotSpec, seed: int) -> Any:
    """A fresh policy, as a torch module; its first weights are drawn from `seed`."""
    import torch

    options, kind = options_of("policies", choice), plugin("policies", choice.name)
    torch.manual_seed(seed)
    return kind.build(options.model_dump(mode="json") if options else {}, robot)


def build_policy_loader() -> LoadPolicy:
    """What makes a release's weights act."""

    def load(release: Release, weights: Weights) -> ActingPolicy:
        kind = plugin("policies", release.policy["name"])
        return kind.acting(release.policy["config"], release.policy_spec(), weights)  # type: ignore[no-any-return]

    return load


def assignment(config: FleetConfig, robot: str, site: int, tasks: Iterable[str]) -> Assignment:
    """Raises UnknownName for a task that is not simulated."""
    return Assignment(
        run=config.run,
        robot=robot,
        host=config.host,
        site=Site.simulated(site).id,
        tasks=tasks_named(tasks),
        seed=config.seed,
    )


def tasks_named(ids: Iterable[str]) -> tuple[Task, ...]:
    """Raises UnknownName naming the simulated tasks, ConfigInvalid if none is given."""
    from fleetloop.sim.tasks import sim_task

    tasks = tuple(sim_task(id).task for id in ids)
    if not tasks:
        raise ConfigInvalid("tasks", "is empty", "name at least one task")
    return tasks
