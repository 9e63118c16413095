"""What a virtual fleet is: its robots, its learner, whoever watches, and what things cost in clock seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleetloop.actor.options import ActorOptions
from fleetloop.core.judge import JudgeKind
from fleetloop.core.plugins import plugin
from fleetloop.core.robot import RobotKind
from fleetloop.hub.options import AttentionOptions
from fleetloop.learner.options import LearnerOptions
from fleetloop.sim.plugin import SimOptions


@dataclass(frozen=True)
class Choice:
    """A plug-in by its name, with its own options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, kind: str, *given: Any) -> Any:
        """One of these; its own options come first, then what else it is given. Raises what the plug-in raises."""
        found = plugin(kind, self.name)
        model = getattr(found, "Options", None)
        return found(model(**self.options) if model else None, *given)


@dataclass(frozen=True)
class Costs:
    """Clock seconds that things take. What takes a while has happened at its end.

    Attributes:
        inference_s: from an observation to its chunk.
        record_s: from the end of an episode or a wish for attention to the host's directory.
        message_s: from the host's directory to the hub, or back.
        upload_s: from a recording that is finished to an episode that the hub has.
        fetch_s: from the hub to the learner's inbox, labels and decoding included.
        step_s: one optimizer step.
        slice_s: one slice of the work on the next label version.
        publish_s: time between two looks for weights to publish, which then are out.
        install_s: from a release at the hub to weights that are verified on the host.
    """

    inference_s: float = 0.05
    record_s: float = 0.02
    message_s: float = 0.05
    upload_s: float = 0.5
    fetch_s: float = 0.3
    step_s: float = 0.05
    slice_s: float = 0.02
    publish_s: float = 0.5
    install_s: float = 0.5


@dataclass(frozen=True)
class RobotPlan:
    """One robot: its name, the seed of its site, and the ids of its tasks."""

    name: str
    site: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class FleetPlan:
    """One virtual fleet. Everything that it does follows from this, a base and the demonstrations.

    Attributes:
        seed: of resets, of the policy's noise and of the learner's draws.
        operators: people, or stand-ins, who watch; each attends to one robot at a time. 0: nobody does.
        mail_s: clock seconds between two beats of a robot that has nothing urgent to say.
    """

    robots: tuple[RobotPlan, ...]
    algorithm: Choice
    learner: LearnerOptions
    seed: int = 0
    operators: int = 1
    operator: Choice = Choice("scripted")
    robot: RobotKind = field(default_factory=lambda: RobotKind("sim", SimOptions()))
    judge: JudgeKind = field(default_factory=JudgeKind)
    actor: ActorOptions = field(default_factory=ActorOptions)
    costs: Costs = Costs()
    mail_s: float = 1.0

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the fleet works at."""
        return tuple(dict.fromkeys(task for robot in self.robots for task in robot.tasks))

    @property
    def attention(self) -> AttentionOptions:
        return AttentionOptions(operators=self.operators, robots_per_operator=1)
