"""The environment and the rule of the page on Gymnasium: attempts there end in success, and in failure."""

from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from snippets import blocks, run

from fleetloop.actor.rollout import rollout
from fleetloop.cli.check import robot as robot_check
from fleetloop.cli.check.findings import findings
from fleetloop.cli.check.robot import RobotSubject
from fleetloop.cli.config import FleetConfig
from fleetloop.core.clock import Virtual
from fleetloop.core.judge import SIMULATOR
from fleetloop.core.operator import Drive
from fleetloop.core.outcome import Outcome
from fleetloop.core.task import Site
from fleetloop.robots.gymnasium_options import GymnasiumOptions

PAGE = "docs/how-to/gymnasium.md"


@pytest.fixture
def body():
    config = FleetConfig.model_validate(yaml.safe_load(blocks(PAGE, "yaml")[0]))
    kind, options = run(blocks(PAGE, "python")[0], "cartpole")["CartPole"], GymnasiumOptions(**config.robot.options)
    clock = Virtual()
    return RobotSubject(kind(options, clock=clock, site=Site("lab")), kind.tasks(options)[0], clock)


def test_the_rule_succeeds_and_standing_still_fails(body):
    def ends(drive):
        operator = SimpleNamespace(name="", wants_attention=False, start=lambda _: None, watch=drive)
        return rollout(body.robot, None, body.task, 1, judge=SIMULATOR.build(body.robot), operator=operator).outcome

    assert ends(lambda _: Drive(body.robot.expert().action())) is Outcome.SUCCESS
    assert ends(lambda _: Drive(np.array([1, 0], np.float32))) is Outcome.FAILURE


def test_the_robot_keeps_its_contract(body):
    assert not [found for found in findings(robot_check.CHECKS, body) if found.problem or found.note]
