"""Any Gymnasium environment as a robot: features, cameras, instruction, success and limits by configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field

from fleetloop.core.clock import Clock
from fleetloop.core.errors import ConfigInvalid, SpecMismatch
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec
from fleetloop.core.task import Site, Task

WHOLE = ""  # names the observation itself, where it is no dictionary
RENDERED = "render"  # names what `env.render()` returns


class GymnasiumTask(BaseModel):
    """An environment, and what its robot is told there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str = Field(description="its id; `module:Id-v0` imports the module that registers it")
    kwargs: Mapping[str, Any] = Field(default_factory=dict, description="what `gymnasium.make` gets beside the id")
    instruction: str = Field(description="what the robot is told")
    time_limit_s: float = Field(gt=0, description="clock seconds after which an attempt ends as a timeout")
    success: str = Field(default="", description="the success rule in words")


class EpisodeRules(BaseModel):
    """How an environment's episodes begin, pass and end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control_hz: float = Field(default=20.0, gt=0, description="steps of the environment per clock second")
    reset_s: float = Field(default=1.0, ge=0, description="clock seconds that a reset takes")
    success_key: str = Field(default="success", description="entry of `info` that is true when the task is done")
    terminated: Literal["success", "failure"] = Field(
        default="failure", description="what it means that the environment terminates an episode that is no success yet"
    )


class GymnasiumOptions(EpisodeRules):
    """Which environments, and what of their observations is what."""

    tasks: Mapping[str, GymnasiumTask] = Field(min_length=1, description="by id, the tasks; all of one embodiment")
    embodiment: str = Field(default="gymnasium", min_length=1, description="robots of one share statistics")
    state: Mapping[str, str] | None = Field(
        default=None,
        description="feature -> key of the observation, '' for all of it; null: every key that is no image",
    )
    images: Mapping[str, str] = Field(
        default_factory=dict,
        description="camera -> key of the observation, '' for all of it, `render` for the rendering",
    )
    scale_actions: bool = Field(
        default=False, description="policies act in -1 to 1, which is stretched to the limits of the action space"
    )


class GymnasiumRobot:
    """One embodiment in any of its environments.

    Attributes:
        seen, reward: what the running environment last returned.

    A state feature is the flattened part of the observation, as float32; a discrete action is the largest of one number
    per choice. What is sent is clipped to the action space. An environment that has ended stands still until its reset.

    Raises:
        SpecMismatch: for an action space that is no box and no choice, or environments that differ in what they offer.
        ConfigInvalid: for an observation key or an environment that there isn't.
    """

    Options: ClassVar[type[BaseModel]] = GymnasiumOptions
    simulated = True

    def __init__(self, options: GymnasiumOptions, *, clock: Clock, site: Site) -> None:
        self._options, self._clock = options, clock
        self._envs: dict[str, gymnasium.Env[Any, Any]] = {}
        first = next(iter(options.tasks))
        self.env = self._open(first)
        self._layout = _Layout.of(self.env, options)
        self._layouts = {first: self._layout}
        self.spec = self._layout.spec(options)
        self.seen: Any = None
        self.reward = 0.0
        self._outcome: Outcome | None = None

    @staticmethod
    def tasks(options: GymnasiumOptions) -> tuple[Task, ...]:
        return tuple(Task(id, own.instruction, own.time_limit_s, own.success) for id, own in options.tasks.items())

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        """Raises ConfigInvalid for a task that has no environment, SpecMismatch for one that offers something else."""
        started = self._clock.now()
        self.env, self._outcome = self._open(task.id), None
        self._layout = self._layout_of(task.id)
        self.seen, _ = self.env.reset(seed=seed)
        self.reward = 0.0
        took_s = max(self._clock.now() - started, self._options.reset_s)
        self._clock.sleep_until(started + took_s)
        return EpisodeStart(task.instruction, took_s)

    def observe(self) -> Observation:
        now, images = self._clock.now(), self._layout.images(self.env, self.seen)
        return Observation(self._layout.state(self.seen), now, images, dict.fromkeys(images, now))

    def act(self, action: FloatArray) -> FloatArray:
        native, sent = self._layout.native(action)
        if self._outcome is None:
            self.seen, reward, terminated, truncated, info = self.env.step(native)
            self.reward = float(reward)
            self._outcome = self._ending(terminated, truncated, info)
        return sent

    def outcome(self) -> Outcome | None:
        """By `info`, else by how the environment ended the episode; None while it goes on."""
        return self._outcome

    def close(self) -> None:
        for env in self._envs.values():
            env.close()

    def _ending(self, terminated: bool, truncated: bool, info: Mapping[str, Any]) -> Outcome | None:
        if info.get(self._options.success_key):
            return Outcome.SUCCESS
        if terminated:
            return Outcome(self._options.terminated)
        return Outcome.TIMEOUT if truncated else None

    def _open(self, id: str) -> "gymnasium.Env[Any, Any]":
        if id not in self._options.tasks:
            known = ", ".join(self._options.tasks)
            raise ConfigInvalid(f"robot.options.tasks.{id}", "is no environment's", f"known: {known}")
        if id not in self._envs:
            own = self._options.tasks[id]
            kwargs = {"disable_env_checker": True, **own.kwargs}
            if RENDERED in self._options.images.values():
                kwargs.setdefault("render_mode", "rgb_array")
            try:
                self._envs[id] = gymnasium.make(own.env, **kwargs)
            except (gymnasium.error.Error, ModuleNotFoundError, TypeError, ValueError) as error:
                raise ConfigInvalid(f"robot.options.tasks.{id}.env", f"can't be made ({error})") from error
        return self._envs[id]

    def _layout_of(self, id: str) -> "_Layout":
        """Of the environment that is open now; looked at once, since that may reset it."""
        if id not in self._layouts:
            layout = _Layout.of(self.env, self._options)
            offered = layout.spec(self._options)
            if offered != self.spec:
                first = f"the first environment {_words(self.spec)}"
                raise SpecMismatch(id, f"offers {_words(offered)}; {first}", "give each embodiment a fleet of its own")
            self._layouts[id] = layout
        return self._layouts[id]


@dataclass(frozen=True)
class _Layout:
    """Where everything stands in an environment's observations and actions.

    Attributes:
        parts: feature -> (key, space).
        cameras: camera -> (key, (height, width)).
    """

    action: spaces.Box | spaces.Discrete
    scale: bool
    parts: Mapping[str, tuple[str, spaces.Space[Any]]]
    cameras: Mapping[str, tuple[str, tuple[int, int]]]

    @classmethod
    def of(cls, env: "gymnasium.Env[Any, Any]", options: GymnasiumOptions) -> "_Layout":
        seen = env.observation_space
        offered = dict(seen.spaces) if isinstance(seen, spaces.Dict) else {WHOLE: seen}
        cameras = {name: (key, _size(env, offered, key)) for name, key in options.images.items()}
        shown = {key for key, _ in cameras.values()}
        chosen = options.state
        if chosen is None:
            chosen = {key or "state": key for key in offered if key not in shown}
        if odd := set(chosen.values()) - set(offered):
            raise _no_key("robot.options.state", min(odd), offered)
        action = env.action_space
        if not isinstance(action, spaces.Box | spaces.Discrete):
            raise SpecMismatch("action", f"the action space is {action}", "wrap it into a Box or a Discrete one")
        if options.scale_actions and not (isinstance(action, spaces.Box) and action.is_bounded()):
            raise SpecMismatch("action", f"{action} has no limits to stretch to", "leave `scale_actions` off")
        return cls(action, options.scale_actions, {name: (key, offered[key]) for name, key in chosen.items()}, cameras)

    def spec(self, options: GymnasiumOptions) -> RobotSpec:
        return RobotSpec(
            options.embodiment,
            tuple(FeatureSpec(name, (spaces.flatdim(space),)) for name, (_, space) in self.parts.items()),
            self._action_feature(),
            options.control_hz,
            tuple(CameraSpec(name, *size) for name, (_, size) in self.cameras.items()),
        )

    def _action_feature(self) -> FeatureSpec:
        if isinstance(self.action, spaces.Discrete):
            return FeatureSpec("action", (int(self.action.n),), unit="largest is chosen")
        if self.scale:
            return FeatureSpec("action", (spaces.flatdim(self.action),), low=-1.0, high=1.0)
        low, high = float(self.action.low.min()), float(self.action.high.max())
        limits = (low, high) if np.isfinite([low, high]).all() else (None, None)
        return FeatureSpec("action", (spaces.flatdim(self.action),), low=limits[0], high=limits[1])

    def native(self, action: FloatArray) -> tuple[Any, FloatArray]:
        """What the environment takes, and the (A,) action that this is."""
        if isinstance(self.action, spaces.Discrete):
            choice = int(np.argmax(action))
            return self.action.start + choice, np.eye(int(self.action.n), dtype=np.float32)[choice]
        low, high = self.action.low.ravel(), self.action.high.ravel()
        if not self.scale:
            sent = np.clip(action, low, high).astype(np.float32)
            return sent.reshape(self.action.shape).astype(self.action.dtype), sent
        sent = np.clip(action, -1, 1).astype(np.float32)
        stretched = low + (sent + 1) / 2 * (high - low)
        return stretched.reshape(self.action.shape).astype(self.action.dtype), sent

    def state(self, seen: Any) -> dict[str, FloatArray]:
        """Copies: environments may reuse their arrays."""
        return {
            name: np.array(spaces.flatten(space, seen if key == WHOLE else seen[key]), np.float32)
            for name, (key, space) in self.parts.items()
        }

    def images(self, env: "gymnasium.Env[Any, Any]", seen: Any) -> dict[str, npt.NDArray[np.uint8]]:
        return {name: _image(env, seen, key) for name, (key, _) in self.cameras.items()}


def _image(env: "gymnasium.Env[Any, Any]", seen: Any, key: str) -> npt.NDArray[np.uint8]:
    if key == RENDERED:
        return np.array(env.render(), np.uint8)
    return np.array(seen if key == WHOLE else seen[key], np.uint8)


def _size(env: "gymnasium.Env[Any, Any]", offered: Mapping[str, spaces.Space[Any]], key: str) -> tuple[int, int]:
    shown: Any
    if key == RENDERED:
        env.reset(seed=0)
        shown = np.asarray(env.render())
    elif key in offered:
        shown = offered[key]
    else:
        raise _no_key("robot.options.images", key, [*offered, RENDERED])
    shape: tuple[int, ...] = shown.shape or ()
    if len(shape) != 3 or shape[2] != 3:
        raise SpecMismatch(f"image {key!r}", f"has the shape {list(shape)}", "an image is (height, width, 3)")
    if shown.dtype != np.uint8:
        raise SpecMismatch(f"image {key!r}", f"is {shown.dtype}", "wrap the environment: images are uint8, 0 to 255")
    return shape[0], shape[1]


def _no_key(field: str, key: str, known: Iterable[str]) -> ConfigInvalid:
    return ConfigInvalid(field, f"{key!r} is no key of the observation", f"known: {', '.join(map(repr, known))}")


def _words(spec: RobotSpec) -> str:
    return ", ".join(feature.describe() for feature in (*spec.state, spec.action))
