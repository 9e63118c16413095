"""A real actor with a fake robot: `actor_process.py HOST_DIRECTORY TIME_LIMIT_S MARK_THAT_BREAKS_IT [ROBOT]`."""

import dataclasses
import gc
import logging
import os
import sys
from pathlib import Path

from slider import TASK, CountingPolicy, Never, Slider, SucceedsAt

from fleetloop.actor.handover import Nobody
from fleetloop.actor.options import ActorOptions, RecorderOptions
from fleetloop.actor.plan import Assignment
from fleetloop.actor.run import run_actor, sole_driver
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.host import HostDirectory

DEADLY = -13.0
"""A release with this mark ends the process."""


class Hoarder(Slider):
    """Keeps so much that Python thinks of a full garbage collection; notes each, and whether it was in mid-motion."""

    def __init__(self, clock: Wall, notes: Path, most: int) -> None:
        super().__init__(clock)
        self._notes, self._most, self._moving = notes, most, False
        self._kept: list[list[int]] = []
        gc.callbacks.append(self._note)

    def observe(self):
        self._moving = 0 < len(self.acted) < self._most
        self._kept += [[] for _ in range(20_000)]
        return super().observe()

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            with self._notes.open("a") as notes:
                notes.write("moving\n" if self._moving else "at rest\n")


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
    hoards = robot == "hoarder"
    with sole_driver(host, robot):
        run_actor(
            Assignment("run", robot, "host", "site-1", (dataclasses.replace(TASK, time_limit_s=limit_s),)),
            Hoarder(clock, root / "collections", 10) if hoards else Slider(clock),
            Nobody(),
            SucceedsAt(10) if hoards else Never(),
            host=host,
            disk=disk,
            clock=clock,
            load_policy=load_policy,
            options=ActorOptions(wait_s=0.05, recorder=RecorderOptions(flush_s=0.1)),
        )


if __name__ == "__main__":
    main()
