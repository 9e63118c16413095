"""The subjects of the checks, made from the configuration as the commands make them."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fleetloop.actor.run import sole_driver
from fleetloop.cli import wiring
from fleetloop.cli.base import check_base, robot_spec
from fleetloop.cli.check.findings import Finding, finding, findings
from fleetloop.cli.config import FleetConfig, RobotEntry, chosen_options
from fleetloop.core.algorithm import Algorithm
from fleetloop.core.clock import Virtual, Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.host import HostDirectory
from fleetloop.core.plugins import plugin
from fleetloop.core.robot import simulated
from fleetloop.core.spec import RobotSpec
from fleetloop.core.task import Site

if TYPE_CHECKING:
    from fleetloop.cli.check.robot import RobotSubject

MADE = "It can be imported and made from its options"


def checked(kind: str, config: FleetConfig, *, member: str | None = None, move: bool = False) -> Iterator[Finding]:
    """Every finding about the plug-in of this kind (`robots`, …) that the configuration chooses.

    The first is whether it can be made at all; if not, it is the only one. `member`: the fleet's robot that is opened,
    under its name and options; None: one of its kind. `move`: see `RobotSubject`.

    Raises:
        UnknownName: for a robot that the configuration does not name.
        DiskTrouble: an actor on this host drives it.
    """
    with tempfile.TemporaryDirectory(prefix="fleetloop-check-") as scratch, ExitStack() as taken:
        entry = config.member(member) if member else None
        if entry:
            taken.enter_context(sole_driver(HostDirectory(config.directories.home, RealDisk()), entry.name))
        workshop = Workshop(config, entry, Path(scratch), move, taken)
        made: list[Iterator[Finding]] = []
        yield finding(MADE, lambda: made.append(MAKERS[kind](workshop)))
        if made:
            yield from made[0]
            yield finding("What was opened for it can be closed", taken.close)


@dataclass(frozen=True)
class Workshop:
    """What a subject is made from.

    Attributes:
        entry: the fleet's robot that is opened; None: one of its kind.
        scratch: a directory for its files.
        move: see `RobotSubject`.
        taken: what has been taken, hardware say, and is given back when all is checked.
    """

    config: FleetConfig
    entry: RobotEntry | None
    scratch: Path
    move: bool
    taken: ExitStack

    def body(self) -> "RobotSubject":
        """The configuration's robot, its kind at the nominal site, and its first task.

        Time is virtual for a simulated robot alone: a real one's reset would be over before the robot has moved.
        """
        from fleetloop.cli.check.robot import RobotSubject

        kind, config, entry = wiring.robot_kind(self.config, self.entry), self.config, self.entry
        known = [task for task in kind.tasks() if task.id not in config.own_tasks]
        todo = (entry and entry.tasks) or config.tasks
        named = [id for id in todo if id in config.own_tasks or id in {task.id for task in known}]
        task = wiring.tasks_named(config, named[:1])[0] if named or not known else known[0]
        clock = Virtual() if simulated(plugin("robots", kind.name)) else Wall()
        robot = self.taken.enter_context(closing(kind.build(clock, Site.simulated(entry.site if entry else 0))))
        return RobotSubject(robot, task, clock, self.move)

    def episodes(self, spec: RobotSpec) -> list[Episode]:
        from fleetloop.cli.check.experience import episodes

        return episodes(self.scratch, spec)


def _robot(workshop: Workshop) -> Iterator[Finding]:
    from fleetloop.cli.check.robot import CHECKS

    return findings(CHECKS, workshop.body())


def _operator(workshop: Workshop) -> Iterator[Finding]:
    from fleetloop.cli.check.operator import CHECKS, OperatorSubject

    body = workshop.body()
    operator = workshop.taken.enter_context(wiring.operator_at(workshop.config.operator, body.robot))
    return findings(CHECKS, OperatorSubject(operator, body))


def _judge(workshop: Workshop) -> Iterator[Finding]:
    from fleetloop.cli.check.judge import CHECKS, JudgeSubject

    body = workshop.body()
    return findings(CHECKS, JudgeSubject(wiring.judge_kind(workshop.config).build(body.robot), body))


def _policy(workshop: Workshop) -> Iterator[Finding]:
    from fleetloop.cli.check.policy import CHECKS, PolicySubject

    config, robot = workshop.config, workshop.body().robot.spec
    kind, options = plugin("policies", config.policy.name), chosen_options("policies", config.policy)
    policy = wiring.build_policy(config.policy, robot, config.seed)
    given = options.model_dump(mode="json") if options else {}
    return findings(CHECKS, PolicySubject(kind, policy, given, robot, workshop.episodes(robot)))


def _algorithm(workshop: Workshop) -> Iterator[Finding]:
    from fleetloop.cli.check.algorithm import CHECKS, AlgorithmSubject
    from fleetloop.cli.check.experience import TOY, batch_for
    from fleetloop.learner.base import DESCRIPTION, load_base

    config = workshop.config
    if (config.directories.base / DESCRIPTION).exists():
        base = load_base(config.directories.base)
        check_base(config, base)
        policy, told = base.policy, workshop.episodes(base.robot)
    else:
        robot = robot_spec(config) or TOY
        policy, told = wiring.build_policy(config.policy, robot, config.seed), workshop.episodes(robot)
        policy.fit_statistics(batch_for(policy, told))

    def fresh() -> Algorithm:
        algorithm = wiring.build_algorithm(config.algorithm)
        algorithm.setup(policy)
        return algorithm

    return findings(CHECKS, AlgorithmSubject(fresh(), fresh, policy, told))


MAKERS: dict[str, Callable[[Workshop], Iterator[Finding]]] = {
    "algorithms": _algorithm,
    "policies": _policy,
    "robots": _robot,
    "operators": _operator,
    "judges": _judge,
}
