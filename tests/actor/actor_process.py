"""A real actor with a fake robot: `actor_process.py HOST_DIRECTORY TIME_LIMIT_S MARK_THAT_BREAKS_IT [ROBOT]`."""

import dataclasses
import logging
import os
import sys
from pathlib import Path

from slider import TASK, CountingPolicy, Never, Slider

from fleetloop.actor.handover import Nobody
from fleetloop.actor.options import ActorOptions, RecorderOptions
from fleetloop.actor.plan import Assignment
from fleetloop.actor.run import run_actor, sole_driver
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.host import HostDirectory

DEADLY = -13.0
"""A release with this mark ends the process."""


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    root, limit_s, breaks_at = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    robot = sys.argv[4] if len(sys.argv) > 4 else "robot-1"

    def load_policy(manifest, tensors):
        mark = float(tensors["mark"][0])
        if mark == breaks_at:
            raise RuntimeError("this policy can't be built")
        if mark == DEADLY:
            os._exit(9)  # as a crash in native code would
        return CountingPolicy(mark, manifest.policy_spec())

    clock, disk = Wall(), RealDisk()
    host = HostDirectory(root, disk)
    with sole_driver(host, robot):
        run_actor(
            Assignment("run", robot, "host", "site-1", (dataclasses.replace(TASK, time_limit_s=limit_s),)),
            Slider(clock),
            Nobody(),
            Never(),
            host=host,
            disk=disk,
            clock=clock,
            load_policy=load_policy,
            options=ActorOptions(wait_s=0.05, recorder=RecorderOptions(flush_s=0.1)),
        )


if __name__ == "__main__":
    main()
