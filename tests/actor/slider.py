"""A fake robot at the edge of the world: a point on a line that goes where the last action told it, and its policy."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fleetloop.core.clock import Clock, Virtual
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.outcome import Judge as Rank
from fleetloop.core.outcome import Outcome
from fleetloop.core.policy import ActingPolicy
from fleetloop.core.release import Release
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.spec import CameraSpec, FeatureSpec, PolicySpec, RobotSpec
from fleetloop.core.task import Task
from fleetloop.weights.codec import Weights, encode
from manifests import manifest_of

HZ = 20.0
COUNT = FeatureSpec("count", (1,), unit="actions since the reset")
ACTION = FeatureSpec("target", (2,))
ROBOT = RobotSpec("slider", (COUNT,), ACTION, HZ)
POLICY = PolicySpec((COUNT,), ACTION, horizon=8, execute=4, control_hz=HZ)
TASK = Task("slide/far", "slide far", time_limit_s=2.0)


class Slider:
    """Counts the actions that it got. `cost_s(count)` is how long the next one takes on the given clock."""

    def __init__(
        self, clock: Clock | None = None, cost_s: Callable[[int], float] = lambda count: 0.0, spec: RobotSpec = ROBOT
    ) -> None:
        self.spec, self.clock, self.cost_s = spec, clock or Virtual(), cost_s
        self.seeds: list[int] = []
        self.tasks: list[str] = []
        self.acted: list[FloatArray] = []
        self.closed = False

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        self.seeds.append(seed)
        self.tasks.append(task.id)
        self.acted = []
        return EpisodeStart(f"{task.instruction} ({seed % 7})", 0.25)

    def observe(self) -> Observation:
        now = self.clock.now()
        images = {c.name: np.full((c.height, c.width, 3), len(self.acted), np.uint8) for c in self.spec.cameras}
        state = {"count": np.array([len(self.acted)], np.float32)}
        return Observation(state, now, images, dict.fromkeys(images, now))

    def act(self, action: FloatArray) -> FloatArray:
        self.clock.sleep_until(self.clock.now() + self.cost_s(len(self.acted)))
        sent = np.clip(action, -1000, 1000).astype(np.float32)
        self.acted.append(sent)
        return sent

    def close(self) -> None:
        self.closed = True


def with_camera(spec: RobotSpec = ROBOT) -> RobotSpec:
    return RobotSpec(spec.embodiment, spec.state, spec.action, spec.control_hz, (CameraSpec("top", 16, 24),))


asked: list[str | None] = []
"""The condition of every chunk that a CountingPolicy was asked for."""


class CountingPolicy:
    """Its action for a tick is (actions that the robot had got when it was asked + index, `mark`)."""

    spec = POLICY

    def __init__(self, mark: float = 0.0, spec: PolicySpec = POLICY) -> None:
        self.mark, self.spec = mark, spec

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        asked.append(condition)
        first = observation.state["count"][0]
        ahead = np.arange(self.spec.horizon, dtype=np.float32)
        return np.stack([first + ahead, np.full_like(ahead, self.mark)], axis=1)


class Never:
    """Leaves every episode to its time limit."""

    rank = Rank.SIMULATOR

    def verdict(self, observation: Observation) -> Outcome | None:
        return None


class SucceedsAt:
    """Calls it a success as soon as the robot has got so many actions."""

    rank = Rank.SIMULATOR

    def __init__(self, count: int) -> None:
        self.count = count

    def verdict(self, observation: Observation) -> Outcome | None:
        return Outcome.SUCCESS if observation.state["count"][0] >= self.count else None


def weights(mark: float) -> Weights:
    return {"mark": np.array([mark], np.float32)}


def release(version: int, mark: float, spec: PolicySpec = POLICY, **changes: Any) -> Release:
    """A manifest of `weights(mark)`."""
    first = {"run": "test", "policy": {"name": "counting"}, "step": version * 25, "parent": version - 1}
    return manifest_of(encode(weights(mark)), spec, **(first | {"version": version} | changes))


def load_policy(manifest: Release, tensors: Weights) -> ActingPolicy:
    return CountingPolicy(float(tensors["mark"][0]), manifest.policy_spec())
