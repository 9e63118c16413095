"""A starting point that is quick to make: two demonstrations of two tasks, and a tiny base that knows nothing."""

from pathlib import Path

import torch

from fleetloop.core.plugins import plugin
from fleetloop.core.robot import RobotKind
from fleetloop.lab.demonstrations import record_demonstrations
from fleetloop.lab.fleet import VirtualFleet
from fleetloop.lab.plan import Choice, FleetPlan, RobotPlan
from fleetloop.learner.assemble import open_demonstrations
from fleetloop.learner.base import Base
from fleetloop.learner.options import LearnerOptions, PretrainOptions
from fleetloop.learner.pretrain import pretrain
from fleetloop.sim.plugin import SimOptions

TASKS = ("restock/shelf", "box/walls")
SIM = RobotKind("sim", SimOptions())
STEPS_PER_S = 2.0
# Quick to disagree, so that there are corrections in the first episode.
OPERATOR = Choice("scripted", {"take_over_above": 0.05, "reaction": 0, "patience": 0})


class World:
    """Makes fleets that all start from the same."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._fleets = directory, 0
        calm = RobotKind("sim", SimOptions(initial_ticks=0, events=0, noise_m=0.0))
        record_demonstrations(directory / "demonstrations", {SIM.task(task): 2 for task in TASKS}, calm, processes=1)
        self.demonstrations = open_demonstrations(directory / "demonstrations")

    def base(self) -> Base:
        torch.manual_seed(0)
        kind, robot = plugin("policies", "flow"), self.demonstrations[0].meta.spec
        options = kind.Options(width=16, depth=1, words=8).model_dump(mode="json")
        cloning = Choice("bc").build("algorithms")
        made = pretrain(kind.build(options, robot), cloning, self.demonstrations, PretrainOptions(steps=3, batch=8))
        return Base(made.policy, "flow", robot)

    def fleet(self, robots: int = 2, *, operators: int = 1, algorithm: Choice = Choice("hg_dagger")) -> VirtualFleet:  # noqa: B008
        plan = FleetPlan(
            tuple(RobotPlan(f"robot-{site}", site, TASKS) for site in range(1, robots + 1)),
            algorithm,
            LearnerOptions(batch=16, steps_per_s=STEPS_PER_S, publish_every_steps=5),
            operators=operators,
            operator=OPERATOR,
        )
        self._fleets += 1
        return VirtualFleet(plan, self.base(), self.demonstrations, self._directory / f"fleet-{self._fleets}")
