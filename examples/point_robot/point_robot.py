"""A point in the plane that moves towards its set-point: the smallest robot with an expert and a success rule."""

import numpy as np

from fleetloop.core.clock import Clock
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.core.task import Site, Task

PLACE = FeatureSpec("place", (2,), unit="m", fields=("x", "y"), low=-1, high=1)
TARGETS = FeatureSpec("targets", (2, 2), unit="m")
COLOURS = ("red", "blue")
FASTEST = 0.1  # metres in one tick


class Point:
    simulated = True
    spec = RobotSpec("point", (PLACE, TARGETS), PLACE, control_hz=10)

    def __init__(self, options: None, *, clock: Clock, site: Site) -> None:
        self._clock, self._site = clock, site

    @staticmethod
    def tasks(options: None) -> list[Task]:
        return [Task(f"point/{colour}", f"go to the {colour} spot", 4.0, "within 5 cm of it") for colour in COLOURS]

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        rng = np.random.default_rng((self._site.seed, seed))
        self._place, self._targets = np.zeros(2, np.float32), rng.uniform(-1, 1, (2, 2)).astype(np.float32)
        self._target = self._targets[COLOURS.index(task.id.removeprefix("point/"))]
        return EpisodeStart(task.instruction, reset_s=0.0)

    def observe(self) -> Observation:
        return Observation({"place": self._place.copy(), "targets": self._targets.copy()}, self._clock.now())

    def act(self, action: FloatArray) -> FloatArray:
        near = np.clip(action, self._place - FASTEST, self._place + FASTEST)
        self._place = np.clip(near, PLACE.low, PLACE.high).astype(np.float32)
        return self._place.copy()

    def expert(self) -> "Point":
        return self  # it knows by itself where to go: see `action` and `progress`

    def action(self) -> FloatArray:
        return self._target.copy()

    def progress(self) -> float:
        return -float(np.abs(self._place - self._target).sum())

    def outcome(self) -> Outcome | None:
        return Outcome.SUCCESS if np.abs(self._place - self._target).max() < 0.05 else None

    def close(self) -> None:
        pass
