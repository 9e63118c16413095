"""The one task of the tests of commands that measure, record and replay."""

from fleetloop.core.robot import RobotKind
from fleetloop.sim import scene
from fleetloop.sim.plugin import SimOptions
from fleetloop.sim.tasks import sim_task

SHELF = sim_task("restock/shelf").task
CALM = RobotKind("sim", SimOptions.under(scene.CALM))
