"""One actor drives a robot."""

import pytest

from fleetloop.actor.plan import Assignment
from fleetloop.actor.run import run_actor
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble
from fleetloop.core.host import HostDirectory
from fleetloop.core.task import Task


def test_a_second_actor_of_the_same_name_is_refused_before_it_moves(tmp_path):
    disk = RealDisk()
    host = HostDirectory(tmp_path, disk)
    assignment = Assignment("run", "arm-1", "here", "site-0", (Task("t/a", "go", 1.0),))
    closed: list[str] = []

    class Untouched:  # it fails otherwise
        def close(self):
            closed.append("robot")

    with disk.create(host.mail / "arm-1.lock"), pytest.raises(DiskTrouble, match="another actor on this host"):
        run_actor(
            assignment,
            Untouched(),
            None,
            None,
            host=host,
            disk=disk,
            clock=Virtual(),
            load_policy=None,
            options=None,
        )
    assert closed == ["robot"]
