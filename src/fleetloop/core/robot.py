"""The seam to a robot, and what some robots offer beyond it."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fleetloop.core.clock import Clock
from fleetloop.core.errors import RobotTrouble, SpecMismatch, UnknownName
from fleetloop.core.frame import Array, FloatArray, Observation
from fleetloop.core.operator import Expert
from fleetloop.core.outcome import Outcome
from fleetloop.core.plugins import making, plugin
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.core.task import Site, Task

NOT_FINITE = "holds numbers that are not finite"
DRIVER = "mend the driver, or the robot's specification"


@dataclass(frozen=True)
class EpisodeStart:
    """What a reset came to: the instruction as worded for this episode, and how long the reset took (clock seconds)."""

    instruction: str
    reset_s: float


class Robot(Protocol):
    """A robot, real or simulated. One control loop alone calls it.

    What it raises on purpose is RobotTrouble (any FleetLoopError): the episode is aborted, an alarm says so, and the
    robot is reset after a pause. Any other exception ends the actor, which closes the robot.

    Arrays that it hands out belong to the receiver, who may read them later and in another thread: never write to them
    again.
    """

    spec: RobotSpec

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        """Make ready for an attempt; `seed` makes a simulated reset repeatable. May take long, may raise."""
        ...

    def observe(self) -> Observation: ...

    def act(self, action: FloatArray) -> FloatArray:
        """Take an action (A,); returns what was really sent, after the robot's limits."""
        ...

    def close(self) -> None: ...


def as_specified(spec: RobotSpec, seen: Observation) -> Observation:
    """What was observed, each feature in its own dtype: what the policy acts on is what is recorded.

    Raises RobotTrouble, naming feature or camera, for what is not as the specification says, or not finite: one bad
    reading would otherwise be the policy's fault, or make the hub refuse the whole episode.
    """
    state = {**seen.state, **{feature.name: _reading(feature, seen.state.get(feature.name)) for feature in spec.state}}
    for camera in spec.cameras:
        image = seen.images.get(camera.name)
        _check_array(camera.name, image, (camera.height, camera.width, 3))
        if np.asarray(image).dtype != np.uint8:
            raise RobotTrouble(f"robot: {camera.name}", f"holds {np.asarray(image).dtype}, not uint8", DRIVER)
        if camera.name not in seen.images_taken:
            raise RobotTrouble(f"robot: {camera.name}", "has no time in `images_taken`", DRIVER)
    return replace(seen, state=state)


def _reading(feature: FeatureSpec, value: Any) -> Array:
    _check_array(feature.name, value, feature.shape)
    given, dtype = np.asarray(value), np.dtype(feature.dtype)
    if given.dtype == dtype:
        return given
    with np.errstate(over="ignore", invalid="ignore"):
        kept = given.astype(dtype)
    # A float may lose digits; what is no float may lose nothing.
    whole = np.isfinite(kept).all() if dtype.kind == "f" else np.array_equal(kept, given)
    if not whole:
        raise RobotTrouble(f"robot: {feature.name}", f"holds {given.dtype} that {dtype} can't hold", DRIVER)
    return kept


def check_sent(spec: RobotSpec, sent: FloatArray, said: str = "action") -> None:
    """Raise RobotTrouble unless this, which the robot `said`, can be what was sent, or what is to be."""
    _check_array(said, sent, spec.action.shape)


def unfit(value: Any, shape: tuple[int, ...]) -> str:
    """Why this is no array of finite numbers of this shape; empty if it is one."""
    try:
        given = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        return f"is no array ({error})"
    if value is None:
        return "is missing"
    if given.shape != shape:
        return f"has the shape {list(given.shape)}, not {list(shape)}"
    if given.dtype.kind not in "biuf":
        return f"holds {given.dtype}, no numbers"
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        return NOT_FINITE
    return ""


def _check_array(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if problem := unfit(value, shape):
        remedy = "look at the sensor, or the driver" if problem == NOT_FINITE else DRIVER
        raise RobotTrouble(f"robot: {name}", problem, remedy)


@runtime_checkable
class OffersExpert(Protocol):
    """A robot that knows how its task is done: a simulated one, privileged."""

    def expert(self) -> Expert:
        """Whoever would do the running task; asked once and kept, it follows the robot from task to task."""
        ...


@runtime_checkable
class OffersOutcome(Protocol):
    """A robot that knows how its task has gone: a simulated one, privileged."""

    def outcome(self) -> Outcome | None:
        """How the running episode has ended, by the robot's own rule; None while it goes on."""
        ...


@runtime_checkable
class OffersStill(Protocol):
    """A robot that its last action again would move on: actions are displacements or velocities."""

    def still(self) -> FloatArray:
        """(A,): what leaves it where it is, and its grippers as they are. Sent while nobody has an action for it.

        Asked once at each such tick, never before the first action of an episode.
        """
        ...


def simulated(robot: object) -> bool:
    """Whether a robot, or its class, says by `simulated = True` that nothing real moves.

    Such a robot may be driven as fast as the machine can, and by several processes at once.
    """
    return getattr(robot, "simulated", False) is True


@dataclass(frozen=True)
class RobotKind:
    """A robot plug-in and its options. Another process can be sent it, and builds the robot there.

    Attributes:
        name: by its entry point in fleetloop.robots.
        options: an instance of the plug-in's `Options`; None if it has none.
    """

    name: str
    options: Any = None

    def build(self, clock: Clock, site: Site) -> Robot:
        """Raises UnknownName, PluginBroken, and what the plug-in raises."""
        kind = plugin("robots", self.name)
        with making("robots", self.name):
            return kind(self.options, clock=clock, site=site)  # type: ignore[no-any-return]

    def require_simulated(self, use: str, instead: str) -> None:
        """Raise SpecMismatch unless the plug-in says that it is simulated: `use` drives it as fast as it goes."""
        if not simulated(plugin("robots", self.name)):
            problem = (
                f"{self.name!r} does not say `simulated = True`, and {use} drives several at once, as fast as they go"
            )
            raise SpecMismatch("robot", problem, f"with a real one {instead}")

    def tasks(self) -> tuple[Task, ...]:
        """What the plug-in knows to do; empty if it leaves that to the configuration."""
        known = getattr(plugin("robots", self.name), "tasks", None)
        return tuple(known(self.options)) if known else ()

    def task(self, id: str) -> Task:
        """Raises UnknownName listing the tasks that the plug-in knows."""
        known = {task.id: task for task in self.tasks()}
        if id not in known:
            said = f"known: {', '.join(known)}" if known else "describe it under `own_tasks`"
            raise UnknownName(f"task {id}", f"is not known to the robot {self.name!r}", said)
        return known[id]
