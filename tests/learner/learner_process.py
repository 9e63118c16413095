"""A learner as a process of its own: `python learner_process.py HUB DIRECTORY DEMONSTRATIONS OPTIONS`."""

import sys
from pathlib import Path

from learner_world import hg_dagger, tiny_base

from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.hub.http.client import HttpHub
from fleetloop.learner.assemble import Surroundings, open_demonstrations
from fleetloop.learner.options import LearnerOptions
from fleetloop.learner.run import run

url, directory, demonstrations, options = sys.argv[1:]
run(
    "run",
    LearnerOptions.model_validate_json(options),
    lambda: (tiny_base(), hg_dagger()),
    Surroundings(HttpHub(url), Wall(), RealDisk(), Path(directory)),
    demonstrations=open_demonstrations(Path(demonstrations)),
    say=lambda line: print(line, flush=True),
)
