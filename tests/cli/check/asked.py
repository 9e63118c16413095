"""What is wrong, as the contracts say it."""

import re

from broken import TASK

from fleetloop.cli.check import robot
from fleetloop.cli.check.findings import findings
from fleetloop.core.clock import Virtual


def problems(checks, subject) -> dict[str, str]:
    """Sentence -> what is wrong with it."""
    return {found.holds: f"{found.problem}; {found.remedy}" for found in findings(checks, subject) if found.problem}


def at(body, *, move=False):
    return robot.RobotSubject(body, TASK, getattr(body, "clock", None) or Virtual(), move)


def told_by(pattern: str, wrong: dict[str, str]) -> None:
    lines = [f"{holds}: {said}" for holds, said in wrong.items()]
    assert any(re.search(pattern, line) for line in lines), "\n".join(lines)
