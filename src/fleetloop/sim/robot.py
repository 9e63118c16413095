"""A simulated robot: any of the scenes behind core's Robot seam, with its expert and its success rule at hand."""

from typing import Any, Self

import numpy as np

from fleetloop.core.clock import Clock
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec
from fleetloop.core.task import Task
from fleetloop.sim.expert import Expert
from fleetloop.sim.hands import YAW_LIMIT
from fleetloop.sim.layout import ENTITY_FIELDS, FIELDS, HAND_FIELDS, HAND_NAMES, NAMES, SLOTS
from fleetloop.sim.render import Cameras
from fleetloop.sim.scene import CALM, CONTROL_HZ, Disturbance, Scene
from fleetloop.sim.site import site_parameters
from fleetloop.sim.tasks import sim_task

CAMERAS = ("overhead", "wrist_L", "wrist_R")
RESET_S = 2.0  # clock seconds that a person would need to set the scene up again

STATE = (
    FeatureSpec("hands", (2, HAND_FIELDS), unit="m, rad", fields=HAND_NAMES),
    FeatureSpec("entities", (SLOTS, FIELDS), unit="m, rad", fields=ENTITY_FIELDS),
    FeatureSpec("mask", (SLOTS,), low=0, high=1),
    FeatureSpec("names", (SLOTS, 2), dtype="int32", categories=NAMES),
    FeatureSpec("named", (SLOTS,), dtype="int32", categories=("", "object", "goal"), label=True),
)
ACTION = FeatureSpec(
    "action",
    (10,),
    unit="m, rad",
    fields=tuple(f"{hand}.{axis}" for hand in ("left", "right") for axis in ("x", "y", "z", "yaw", "grip")),
    low=-YAW_LIMIT,
    high=YAW_LIMIT,
)


def sim_spec(image_px: int = 0) -> RobotSpec:
    """What a simulated robot offers; `image_px` > 0 adds its three cameras at that size."""
    cameras = tuple(CameraSpec(name, image_px, image_px) for name in CAMERAS) if image_px else ()
    return RobotSpec("two_cartesian_grippers", STATE, ACTION, CONTROL_HZ, cameras)


class SimRobot:
    """Two Cartesian grippers at one site, able to do every simulated task.

    Args:
        site: the site's seed; 0 is nominal.
        disturbance: what happens to it beside the site's own noise.
        image_px: edge of the camera images in pixels; 0 for none.
        reset_s: clock seconds that a reset takes.
    """

    simulated = True

    def __init__(
        self,
        clock: Clock,
        site: int = 0,
        *,
        disturbance: Disturbance = CALM,
        image_px: int = 0,
        reset_s: float = RESET_S,
    ) -> None:
        self.spec = sim_spec(image_px)
        self._clock, self._site = clock, site_parameters(site)
        self._disturbance, self._image_px, self._reset_s = disturbance, image_px, reset_s
        self._scenes: dict[str, tuple[Scene, Expert[Any]]] = {}
        self._cameras: dict[str, Cameras] = {}
        self._task = ""
        self._advice: FloatArray | None = None

    @property
    def scene(self) -> Scene:
        """The scene of the running episode."""
        return self._scenes[self._task][0]

    def reset(self, task: Task, seed: int) -> EpisodeStart:
        """Raises UnknownName for a task that is not simulated."""
        started = self._clock.now()
        if task.id not in self._scenes:
            entry = sim_task(task.id)
            scene = entry.scene(self._site)
            self._scenes[task.id] = (scene, entry.expert(scene))
        self._task = task.id
        scene, expert = self._scenes[task.id]
        scene.reset(seed, self._disturbance)
        expert.reset()
        self._advice = None
        took_s = max(self._clock.now() - started, self._reset_s)
        self._clock.sleep_until(started + took_s)
        return EpisodeStart(scene.instruction, took_s)

    def observe(self) -> Observation:
        scene, now = self.scene, self._clock.now()
        scene.write_entities()
        table = scene.table
        state = {
            "hands": scene.observe_hands(),
            "entities": table.values.copy(),
            "mask": table.mask.copy(),
            "names": table.names.copy(),
            "named": table.named.copy(),
        }
        if not self._image_px:
            return Observation(state, now)
        images = self._view().images(CAMERAS, self._image_px)
        return Observation(state, now, images, dict.fromkeys(CAMERAS, now))

    def act(self, action: FloatArray) -> FloatArray:
        if self._advice is not None and not np.array_equal(action, self._advice):
            self._scenes[self._task][1].overruled()
        return self.scene.step(np.asarray(action, float).reshape(2, 5)).reshape(10).astype(np.float32)

    def action(self) -> FloatArray:
        """(10,) what the scripted expert of the running task would do now: privileged, it reads the true state."""
        self._advice = self._scenes[self._task][1].action().reshape(10).astype(np.float32)
        return self._advice

    def progress(self) -> float:
        """Grows by at least 0.05 whenever the running task has come closer to its end: privileged."""
        return self._scenes[self._task][1].progress()

    def success(self) -> bool:
        """Whether the running task is done: privileged, the simulator's own rule."""
        return self.scene.success()

    def expert(self) -> Self:
        """Itself: see `action` and `progress`."""
        return self

    def outcome(self) -> Outcome | None:
        """`success` as soon as the scene's own rule says so: privileged."""
        return Outcome.SUCCESS if self.success() else None

    def close(self) -> None:
        for cameras in self._cameras.values():
            cameras.close()

    def _view(self) -> Cameras:
        if self._task not in self._cameras:
            self._cameras[self._task] = Cameras(self.scene)
        return self._cameras[self._task]
