"""One learner works in a directory."""

import pytest

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble
from fleetloop.learner.assemble import Surroundings
from fleetloop.learner.options import LearnerOptions
from fleetloop.learner.run import LOCK, run


def test_a_second_learner_is_refused_before_it_touches_anything(tmp_path):
    disk = RealDisk()
    with disk.create(tmp_path / LOCK), pytest.raises(DiskTrouble, match="another learner works in this directory"):
        run("run", LearnerOptions(), lambda: (None, None), Surroundings(None, Virtual(), disk, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
