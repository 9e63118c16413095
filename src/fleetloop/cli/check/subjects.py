"""The subjects of the checks, made from the configuration as the commands make them."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetloop.cli import wiring
from fleetloop.cli.check.findings import Finding, finding, findings
from fleetloop.cli.config import FleetConfig, chosen_options
from fleetloop.core.clock import Virtual, Wall
from fleetloop.core.episode import Episode
from fleetloop.core.plugins import plugin
from fleetloop.core.spec import RobotSpec
from fleetloop.core.task import Site

if TYPE_CHECKING:
    from fleetloop.cli.check.robot import RobotSubject

MADE = "It can be imported and made from its options"


def checked(kind: str, config: FleetConfig, *, move: bool) -> Iterator[Finding]:
    """Every finding about the plug-in of this kind (`robots`, …) that the configuration chooses.

    The first is whether it can be made at all; if not, it is the only one. `move`: see `RobotSubject`.
    """
    with tempfile.TemporaryDirectory(prefix="fleetloop-check-") as scratch:
        made: list[Iterator[Finding]] = []
        first = finding(MADE, lambda: made.append(MAKERS[kind](config, Path(scratch), move)))
        yield first
        if made:
            yield from made[0]


def _robot(config: FleetConfig, scratch: Path, move: bool) -> Iterator[Finding]:
    from fleetloop.cli.check.robot import CHECKS

    body = _body(config, move)
    return _closing(body.robot, findings(CHECKS, body))


def _operator(config: FleetConfig, scratch: Path, move: bool) -> Iterator[Finding]:
    from fleetloop.cli.check.operator import CHECKS, OperatorSubject

    body = _body(config, move)
    operator = wiring.build_operator(config.operator, body.robot)
    return _closing(body.robot, findings(CHECKS, OperatorSubject(operator, body)))


def _judge(config: FleetConfig, scratch: Path, move: bool) -> Iterator[Finding]:
    from fleetloop.cli.check.judge import CHECKS, JudgeSubject

    body = _body(config, move)
    return _closing(body.robot, findings(CHECKS, JudgeSubject(wiring.judge_kind(config).build(body.robot), body)))


def _policy(config: FleetConfig, scratch: Path, move: bool) -> Iterator[Finding]:
    from fleetloop.cli.check.policy import CHECKS, PolicySubject

    robot = _body(config, move).robot
    robot.close()
    kind, options = plugin("policies", config.policy.name), chosen_options("policies", config.policy)
    policy = wiring.build_policy(config.policy, robot.spec, config.seed)
    given = options.model_dump(mode="json") if options else {}
    return findings(CHECKS, PolicySubject(kind, policy, given, robot.spec, _episodes(scratch, robot.spec)))


def _algorithm(config: FleetConfig, scratch: Path, move: bool) -> Iterator[Finding]:
    from fleetloop.cli.check.algorithm import CHECKS, AlgorithmSubject
    from fleetloop.cli.check.experience import TOY, batch_for

    told = _episodes(scratch, TOY)
    policy = wiring.build_policy(config.policy, TOY, config.seed)
    policy.fit_statistics(batch_for(policy, told))
    algorithm, another = (wiring.build_algorithm(config.algorithm) for _ in range(2))
    for one in (algorithm, another):
        one.setup(policy)
    return findings(CHECKS, AlgorithmSubject(algorithm, another, policy, told))


MAKERS: dict[str, Callable[[FleetConfig, Path, bool], Iterator[Finding]]] = {
    "algorithms": _algorithm,
    "policies": _policy,
    "robots": _robot,
    "operators": _operator,
    "judges": _judge,
}


def _body(config: FleetConfig, move: bool) -> "RobotSubject":
    """The configuration's robot at the nominal site, and its first task.

    Time is virtual for a simulated robot alone: a real one's reset would be over before the robot has moved.
    """
    from fleetloop.cli.check.robot import RobotSubject, simulated

    kind = wiring.robot_kind(config)
    known = [task for task in kind.tasks() if task.id not in config.own_tasks]
    named = [id for id in config.tasks if id in config.own_tasks or id in {task.id for task in known}]
    task = wiring.tasks_named(config, named[:1])[0] if named or not known else known[0]
    clock = Virtual() if simulated(plugin("robots", kind.name)) else Wall()
    return RobotSubject(kind.build(clock, Site.simulated(0)), task, clock, move)


def _episodes(scratch: Path, spec: RobotSpec) -> list[Episode]:
    from fleetloop.cli.check.experience import episodes

    return episodes(scratch, spec)


def _closing(robot: Any, made: Iterator[Finding]) -> Iterator[Finding]:
    try:
        yield from made
    finally:
        robot.close()
