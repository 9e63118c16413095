"""Meta-World (Yu et al. 2019, version 3) as robots: a Sawyer arm, fifty tasks that we did not write, their experts."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
from metaworld.policies import ENV_POLICY_MAP
from pydantic import Field

from fleetloop.core.clock import Clock
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.task import Site, Task
from fleetloop.robots.gymnasium import GymnasiumRobot
from fleetloop.robots.gymnasium_layout import WHOLE
from fleetloop.robots.gymnasium_options import EpisodeRules, GymnasiumOptions, GymnasiumTask

VERSION = "-v3"
NAMES = tuple(name.removesuffix(VERSION) for name in ENV_POLICY_MAP)
ENV = "FleetLoop/MetaWorld-v3"


class MetaWorldOptions(EpisodeRules):
    """How long an attempt may take, and how unsteady the arm is."""

    time_limit_s: float = Field(default=10.0, gt=0, description="clock seconds after which an attempt is a timeout")
    noise: float = Field(
        default=0.0, ge=0, le=1, description="deviation of the noise that is added to every action, of its limits"
    )


class Redrawn(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Draws the scene anew from the seed of every reset; by itself Meta-World repeats the first and ignores the seed.

    The goal is part of the observation, and actions are as unsteady as `noise` says.
    """

    def __init__(self, name: str, noise: float) -> None:
        env = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{name}{VERSION}-goal-observable"](seed=0)
        env._freeze_rand_vec = False
        env.seeded_rand_vec = True
        super().__init__(env)
        self._world, self._noise = env, noise

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._world.seed(seed)
        self._rng = np.random.default_rng(seed)
        return self.env.reset(options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        unsteady = action + self._noise * self._rng.standard_normal(len(action))
        return self.env.step(np.clip(unsteady, -1, 1).astype(np.float32))


gymnasium.register(ENV, entry_point=f"{__name__}:Redrawn")


class MetaWorldRobot:
    """A simulated Sawyer arm at any of the tasks `metaworld/NAME`, e.g. `metaworld/drawer-open`.

    State: the 39 numbers of Meta-World's own observation with the goal in it. Action: 3 displacements of the hand and
    the grip, -1 to 1.
    """

    Options: ClassVar[type[MetaWorldOptions]] = MetaWorldOptions
    simulated = True

    def __init__(self, options: MetaWorldOptions, *, clock: Clock, site: Site) -> None:
        rules = {name: getattr(options, name) for name in EpisodeRules.model_fields}
        tasks = {_id(name): _task(name, options) for name in NAMES}
        self._robot = GymnasiumRobot(
            GymnasiumOptions(
                tasks=tasks, embodiment="metaworld_sawyer", state={"state": WHOLE}, displacements=(0, 1, 2), **rules
            ),
            clock=clock,
            site=site,
        )
        self.spec = self._robot.spec
        self._expert = ScriptedExpert(self._robot)

    @staticmethod
    def tasks(options: MetaWorldOptions) -> tuple[Task, ...]:
        """All fifty."""
        return tuple(
            Task(_id(name), _instruction(name), options.time_limit_s, "Meta-World's own success rule") for name in NAMES
        )

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        start = self._robot.reset(task, seed)
        self._expert.start(task)
        return start

    def observe(self) -> Observation:
        return self._robot.observe()

    def act(self, action: FloatArray) -> FloatArray:
        return self._robot.act(action)

    def still(self) -> FloatArray:
        """(4,): no displacement, and the grip as it was."""
        return self._robot.still()

    def expert(self) -> "ScriptedExpert":
        """Meta-World's own scripted policy of the running task: privileged."""
        return self._expert

    def outcome(self) -> Outcome | None:
        """By Meta-World's own success rule: privileged."""
        return self._robot.outcome()

    def close(self) -> None:
        self._robot.close()


class ScriptedExpert:
    """Acts as Meta-World's scripted policies do; implements core's Expert."""

    def __init__(self, robot: GymnasiumRobot) -> None:
        self._robot, self._policy = robot, None

    def start(self, task: Task) -> None:
        self._policy = ENV_POLICY_MAP[task.id.partition("/")[2] + VERSION]()

    def action(self) -> FloatArray:
        """(4,) within the limits, which the scripted policies overshoot."""
        assert self._policy is not None, "asked before the first reset"
        return np.clip(self._policy.get_action(self._robot.seen), -1, 1).astype(np.float32)

    def progress(self) -> float:
        """The task's dense reward, 0 to 10."""
        return self._robot.reward


def _id(name: str) -> str:
    return f"metaworld/{name}"


def _instruction(name: str) -> str:
    """E.g. `drawer open`: Meta-World names its tasks and words none."""
    return name.replace("-", " ")


def _task(name: str, options: MetaWorldOptions) -> GymnasiumTask:
    return GymnasiumTask(
        env=ENV,
        kwargs={"name": name, "noise": options.noise},
        instruction=_instruction(name),
        time_limit_s=options.time_limit_s,
    )
