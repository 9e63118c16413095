"""Any Gymnasium environment as a robot: features, cameras, instruction, success and limits by configuration."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

import gymnasium
import numpy as np
from pydantic import BaseModel

from fleetloop.core.clock import Clock
from fleetloop.core.errors import ConfigInvalid, RobotTrouble, SpecMismatch
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.task import Site, Task
from fleetloop.robots.gymnasium_layout import RENDERED, Layout, blaming, words
from fleetloop.robots.gymnasium_options import GymnasiumOptions

log = logging.getLogger(__name__)


class GymnasiumRobot:
    """One embodiment in any of its environments.

    Attributes:
        seen, reward: what the running environment last returned.

    A state feature is the flattened part of the observation, as float32; a discrete action is the largest of one number
    per choice. What is sent is clipped to the action space. An environment that has ended stands still until its reset.

    Raises:
        SpecMismatch: for spaces that are no fixed number of numbers, or environments that differ in what they offer.
        ConfigInvalid: for an observation key or an environment that there isn't, or that can't be made or rendered.
        RobotTrouble: once it is made, for whatever an environment raises, and for what its spaces say is none of it.
    """

    Options: ClassVar[type[BaseModel]] = GymnasiumOptions
    simulated = True

    def __init__(self, options: GymnasiumOptions, *, clock: Clock, site: Site) -> None:
        self._options, self._clock = options, clock
        self._envs: dict[str, gymnasium.Env[Any, Any]] = {}
        first = next(iter(options.tasks))
        self._task = first
        self.env = self._open(first)
        with blaming(ConfigInvalid, first, "can't be used"):
            self._layout = Layout.of(self.env, options, first)
        self._layouts = {first: self._layout}
        self.spec = self._layout.spec(options)
        _check_displacements(options, self.env.action_space)
        self._sent = np.zeros(self.spec.action.shape, np.float32)
        self.seen: Any = None
        self.reward = self._return = 0.0
        self._outcome: Outcome | None = None
        self._informed = self._warned = False

    @staticmethod
    def tasks(options: GymnasiumOptions) -> tuple[Task, ...]:
        return tuple(Task(id, own.instruction, own.time_limit_s, own.success) for id, own in options.tasks.items())

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        """Raises ConfigInvalid for a task that has no environment, SpecMismatch for one that offers something else."""
        started = self._clock.now()
        self.env, self._task, self._outcome = self._open(task.id), task.id, None
        self._layout = self._layout_of(task.id)
        with blaming(RobotTrouble, task.id, "failed in `reset`"):
            self.seen, _ = self.env.reset(seed=seed)
        self.reward, self._return, self._informed = 0.0, 0.0, False
        took_s = max(self._clock.now() - started, self._options.reset_s)
        self._clock.sleep_until(started + took_s)
        return EpisodeStart(task.instruction, took_s)

    def observe(self) -> Observation:
        now = self._clock.now()
        with blaming(RobotTrouble, self._task, "failed in `render`"):
            images = self._layout.images(self.env, self.seen)
        return Observation(self._layout.state(self.seen), now, images, dict.fromkeys(images, now))

    def act(self, action: FloatArray) -> FloatArray:
        native, sent = self._layout.action.native(action)
        self._sent = sent
        if self._outcome is not None:
            return sent
        with blaming(RobotTrouble, self._task, "failed in `step`"):
            self.seen, reward, terminated, truncated, info = self.env.step(native)
            self.reward = float(reward)
            self._return += self.reward
            self._outcome = self._ending(bool(terminated), bool(truncated), info)
        return sent

    def still(self) -> FloatArray:
        """(A,): the last action again, but for its `displacements`."""
        still = self._sent.copy()
        still[list(self._options.displacements)] = 0
        return still

    def outcome(self) -> Outcome | None:
        """By `info` and the rewards, else by how the environment ended the episode; None while it goes on."""
        return self._outcome

    def close(self) -> None:
        with ExitStack() as all_of_them:  # one that fails leaves none open
            for env in self._envs.values():
                all_of_them.callback(env.close)

    def _ending(self, terminated: bool, truncated: bool, info: Mapping[str, Any]) -> Outcome | None:
        options = self._options
        enough = options.success_return is not None and self._return >= options.success_return
        if self._informed_of_success(info) or enough:
            return Outcome.SUCCESS
        if not (terminated or truncated):
            return None
        self._warn_if_nothing_can_succeed()
        return Outcome(options.terminated if terminated else options.truncated)

    def _informed_of_success(self, info: Mapping[str, Any]) -> bool:
        """Raises RobotTrouble for what is neither true nor false."""
        key = self._options.success_key
        said = info.get(key)
        if said is None:
            return False
        self._informed = True
        array = np.asarray(said)
        if array.dtype.kind not in "biuf" or array.size == 0 or np.isnan(array).any():
            raise RobotTrouble(
                f"info[{key!r}]", f"is {said!r}", "let it be true or false, or name another `success_key`"
            )
        return bool(array.all())

    def _warn_if_nothing_can_succeed(self) -> None:
        """Once, since no other episode of such an environment goes better; a person may still judge by eye."""
        if self._informed or self._warned or not self._options.success_needs_info:
            return
        self._warned = True
        log.warning(
            "robot.options.success_key: %r was not in `info` in a whole episode of %s. Unless it comes with a success "
            "alone, the judge `simulator` will never see one: name another key, or set `terminated: success`, "
            "`truncated: success` or `success_return`",
            self._options.success_key,
            self._task,
        )

    def _open(self, id: str) -> "gymnasium.Env[Any, Any]":
        if id not in self._options.tasks:
            known = ", ".join(self._options.tasks)
            raise ConfigInvalid(f"robot.options.tasks.{id}", "is no environment's", f"known: {known}")
        if id not in self._envs:
            own = self._options.tasks[id]
            kwargs = {"disable_env_checker": True, **own.kwargs}
            if RENDERED in self._options.images.values():
                kwargs.setdefault("render_mode", "rgb_array")
            with blaming(
                ConfigInvalid, id, "can't be made", "correct its id or its kwargs, or install what is missing"
            ):
                self._envs[id] = gymnasium.make(own.env, **kwargs)
        return self._envs[id]

    def _layout_of(self, id: str) -> "Layout":
        """Of the environment that is open now; looked at once, since that may reset it."""
        if id not in self._layouts:
            with blaming(ConfigInvalid, id, "can't be used"):
                layout = Layout.of(self.env, self._options, id)
            offered = layout.spec(self._options)
            if offered != self.spec:
                first = f"the first environment {words(self.spec)}"
                raise SpecMismatch(id, f"offers {words(offered)}; {first}", "give each embodiment a fleet of its own")
            self._layouts[id] = layout
        return self._layouts[id]


def _check_displacements(options: GymnasiumOptions, space: "gymnasium.Space[Any]") -> None:
    where, places = "robot.options.displacements", options.displacements
    if places and not isinstance(space, gymnasium.spaces.Box):
        raise ConfigInvalid(where, f"the action space is {space}, which has none", "leave it out")
    size = gymnasium.spaces.flatdim(space)
    if beyond := [place for place in places if not 0 <= place < size]:
        raise ConfigInvalid(where, f"names {beyond[0]}, and an action has {size} numbers", "count them from 0")
