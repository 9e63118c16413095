"""The subjects of the checks, made from the configuration as the commands make them."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fleetloop.cli import wiring
from fleetloop.cli.check.findings import Finding, finding, findings
from fleetloop.cli.config import FleetConfig, chosen_options
from fleetloop.core.clock import Virtual
from fleetloop.core.episode import Episode
from fleetloop.core.plugins import plugin
from fleetloop.core.robot import Robot
from fleetloop.core.spec import RobotSpec
from fleetloop.core.task import Site, Task

MADE = "It can be imported and made from its options"


def checked(kind: str, config: FleetConfig) -> Iterator[Finding]:
    """Every finding about the plug-in of this kind (`robots`, …) that the configuration chooses.

    The first is whether it can be made at all; if not, it is the only one.
    """
    with tempfile.TemporaryDirectory(prefix="fleetloop-check-") as scratch:
        made: list[Iterator[Finding]] = []
        first = finding(MADE, lambda: made.append(MAKERS[kind](config, Path(scratch))))
        yield first
        if made:
            yield from made[0]


def _robot(config: FleetConfig, scratch: Path) -> Iterator[Finding]:
    from fleetloop.cli.check.robot import CHECKS, RobotSubject

    robot, task = _body(config)
    return _closing(robot, findings(CHECKS, RobotSubject(robot, task)))


def _operator(config: FleetConfig, scratch: Path) -> Iterator[Finding]:
    from fleetloop.cli.check.operator import CHECKS, OperatorSubject

    robot, task = _body(config)
    operator = wiring.build_operator(config.operator, robot)
    return _closing(robot, findings(CHECKS, OperatorSubject(operator, robot, task)))


def _judge(config: FleetConfig, scratch: Path) -> Iterator[Finding]:
    from fleetloop.cli.check.judge import CHECKS, JudgeSubject

    robot, task = _body(config)
    return _closing(robot, findings(CHECKS, JudgeSubject(wiring.judge_kind(config).build(robot), robot, task)))


def _policy(config: FleetConfig, scratch: Path) -> Iterator[Finding]:
    from fleetloop.cli.check.policy import CHECKS, PolicySubject

    robot, _ = _body(config)
    robot.close()
    kind, options = plugin("policies", config.policy.name), chosen_options("policies", config.policy)
    policy = wiring.build_policy(config.policy, robot.spec, config.seed)
    given = options.model_dump(mode="json") if options else {}
    return findings(CHECKS, PolicySubject(kind, policy, given, robot.spec, _episodes(scratch, robot.spec)))


def _algorithm(config: FleetConfig, scratch: Path) -> Iterator[Finding]:
    from fleetloop.cli.check.algorithm import CHECKS, AlgorithmSubject
    from fleetloop.cli.check.experience import TOY, batch_for

    told = _episodes(scratch, TOY)
    policy = wiring.build_policy(config.policy, TOY, config.seed)
    policy.fit_statistics(batch_for(policy, told))
    algorithm, another = (wiring.build_algorithm(config.algorithm) for _ in range(2))
    for one in (algorithm, another):
        one.setup(policy)
    return findings(CHECKS, AlgorithmSubject(algorithm, another, policy, told))


MAKERS: dict[str, Callable[[FleetConfig, Path], Iterator[Finding]]] = {
    "algorithms": _algorithm,
    "policies": _policy,
    "robots": _robot,
    "operators": _operator,
    "judges": _judge,
}


def _body(config: FleetConfig) -> tuple[Robot, Task]:
    """The configuration's robot at the nominal site, and its first task."""
    kind = wiring.robot_kind(config)
    known = [task for task in kind.tasks() if task.id not in config.own_tasks]
    named = [id for id in config.tasks if id in config.own_tasks or id in {task.id for task in known}]
    task = wiring.tasks_named(config, named[:1])[0] if named or not known else known[0]
    return kind.build(Virtual(), Site.simulated(0)), task


def _episodes(scratch: Path, spec: RobotSpec) -> list[Episode]:
    from fleetloop.cli.check.experience import episodes

    return episodes(scratch, spec)


def _closing(robot: Any, made: Iterator[Finding]) -> Iterator[Finding]:
    try:
        yield from made
    finally:
        robot.close()
