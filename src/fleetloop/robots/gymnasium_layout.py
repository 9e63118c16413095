"""Where everything stands in a Gymnasium environment's observations and actions, and what it may be blamed for."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from fleetloop.core.errors import ConfigInvalid, FleetLoopError, RobotTrouble, SpecMismatch
from fleetloop.core.frame import FloatArray
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec
from fleetloop.robots.gymnasium_actions import Actions, actions_of
from fleetloop.robots.gymnasium_options import GymnasiumOptions

WHOLE = ""  # names the observation itself, where it is no dictionary
RENDERED = "render"  # names what `env.render()` returns
MEND = "mend the environment"


@dataclass(frozen=True)
class Layout:
    """Where everything stands in an environment's observations and actions.

    Attributes:
        parts: feature -> (key, space).
        cameras: camera -> (key, (height, width)).
    """

    action: Actions
    parts: Mapping[str, tuple[str, spaces.Space[Any]]]
    cameras: Mapping[str, tuple[str, tuple[int, int]]]

    @classmethod
    def of(cls, env: "gymnasium.Env[Any, Any]", options: GymnasiumOptions, task: str) -> "Layout":
        """Raises SpecMismatch and ConfigInvalid, naming what does not fit; the environment is this task's."""
        seen = env.observation_space
        offered = dict(seen.spaces) if isinstance(seen, spaces.Dict) else {WHOLE: seen}
        cameras = {name: (key, _size(env, offered, key, task)) for name, key in options.images.items()}
        chosen = options.state
        if chosen is None:
            chosen = _rest(offered, {key for key, _ in cameras.values()})
        if odd := set(chosen.values()) - set(offered):
            raise _no_key("robot.options.state", min(odd), offered)
        parts = {name: (key, offered[key]) for name, key in chosen.items()}
        for key, space in parts.values():
            if not space.is_np_flattenable:
                problem = f"{space} is no fixed number of numbers"
                raise SpecMismatch(
                    _named(key), problem, "wrap the environment, or choose others by `robot.options.state`"
                )
        return cls(actions_of(env.action_space, scale=options.scale_actions), parts, cameras)

    def spec(self, options: GymnasiumOptions) -> RobotSpec:
        return RobotSpec(
            options.embodiment,
            tuple(FeatureSpec(name, (spaces.flatdim(space),)) for name, (_, space) in self.parts.items()),
            self.action.feature,
            options.control_hz,
            tuple(CameraSpec(name, *size) for name, (_, size) in self.cameras.items()),
        )

    def state(self, seen: Any) -> dict[str, FloatArray]:
        """Copies: environments may reuse their arrays. Raises RobotTrouble for what is not as its space says."""
        return {name: _flat(seen, key, space) for name, (key, space) in self.parts.items()}

    def images(self, env: "gymnasium.Env[Any, Any]", seen: Any) -> dict[str, npt.NDArray[np.uint8]]:
        """As `state`."""
        return {name: _image(env, seen, key, size) for name, (key, size) in self.cameras.items()}


@contextmanager
def blaming(kind: type[FleetLoopError], task: str, problem: str, remedy: str = MEND) -> Iterator[None]:
    """Whatever an environment raises becomes an error that names the task's; FleetLoop's own pass."""
    try:
        yield
    except FleetLoopError:
        raise
    except Exception as error:
        raise kind(f"robot.options.tasks.{task}.env", f"{problem} ({_said(error)})", remedy) from error


def _rest(offered: Mapping[str, spaces.Space[Any]], shown: set[str]) -> dict[str, str]:
    """Every key that no camera shows; a forgotten picture would be thousands of numbers."""
    rest = {key or "state": key for key in offered if key not in shown}
    for name, key in rest.items():
        space = offered[key]
        if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
            problem = f"is an image that no camera shows: {space.shape} would be {spaces.flatdim(space)} numbers"
            mend = f"add `images: {{{name}: {key!r}}}` to robot.options"
            if space.shape[2] != 3:
                mend = "wrap the environment, so that it is (height, width, 3)"
            raise ConfigInvalid(_named(key), problem, f"{mend}, or choose features by its `state`")
    return rest


def _part(seen: Any, key: str, shape: tuple[int, ...] | None) -> Any:
    """What stands under a key; `shape` is the one that it must have, None where it has none."""
    with _reading(key):
        part = seen if key == WHOLE else seen[key]
        given = np.shape(part) if shape is not None else None
    if given != shape:
        raise RobotTrouble(_named(key), f"has the shape {given}; its space says {shape}", MEND)
    return part


def _flat(seen: Any, key: str, space: spaces.Space[Any]) -> FloatArray:
    part = _part(seen, key, space.shape)
    with _reading(key):
        flat = np.array(spaces.flatten(space, part), np.float32)
    if flat.size != spaces.flatdim(space):
        problem = f"is {flat.size} numbers; its space says {spaces.flatdim(space)}"
        raise RobotTrouble(_named(key), problem, MEND)
    if not np.isfinite(flat).all():
        raise RobotTrouble(_named(key), "holds what is no finite number", MEND)
    return flat


def _image(env: "gymnasium.Env[Any, Any]", seen: Any, key: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    seen = {RENDERED: env.render()} if key == RENDERED else seen
    image = np.asarray(_part(seen, key, (*size, 3)))
    if image.dtype != np.uint8:
        raise RobotTrouble(_named(key), f"is {image.dtype}, no image of uint8", MEND)
    return image.copy()


@contextmanager
def _reading(key: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RobotTrouble(
            _named(key), f"is not what its space says ({_said(error)})", "mend the environment"
        ) from error


def _named(key: str) -> str:
    if key == RENDERED:
        return "the rendering"
    return "the observation" if key == WHOLE else f"observation[{key!r}]"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _size(
    env: "gymnasium.Env[Any, Any]", offered: Mapping[str, spaces.Space[Any]], key: str, task: str
) -> tuple[int, int]:
    shown: Any
    if key == RENDERED:
        with blaming(ConfigInvalid, task, "can't be rendered", "mend that, or name no camera `render`"):
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


def words(spec: RobotSpec) -> str:
    return ", ".join(feature.describe() for feature in (*spec.state, spec.action))
