"""Pictures with the truth beside them: what an image encoder is trained on.

The frames are demonstration-like: the scripted expert works under actuation noise and nudges, and every so often the
grippers wander off to random places, so that the places where a policy errs are seen too. The truth (where each thing
is, and what it is called) is privileged: it is read from the simulator.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetloop.core.clock import Virtual
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.sim.layout import NAMES, POSITION
from fleetloop.sim.robot import CAMERAS, SimRobot
from fleetloop.sim.scene import Disturbance, Scene
from fleetloop.sim.tasks import sim_task

EVERY = 3  # ticks between two frames: neighbours are too much alike
BURST = 12  # ticks that the expert, or the wandering, lasts
WANDER = 0.3  # share of the bursts in which the grippers wander
REACH = 0.10  # metres, standard deviation of a wandering gripper's goal
UNSTEADY = Disturbance(noise=0.01)
MOST_FRAMES = 40  # of one episode
HANDS = 2

Images = npt.NDArray[np.uint8]
Seen = tuple[Observation, Mapping[str, FloatArray]]


@dataclass(frozen=True)
class Survey:
    """n frames of one task at one site.

    Attributes:
        images: camera name -> (n, px, px, 3) uint8.
        hands: (n, 2, 8); entities: (n, 12, 15); mask: (n, 12), as in `layout.py`.
        places: camera name -> (n, 12, 2): where in the picture each entity is, x to the right and y down, -1 to 1 from
            edge to edge; NaN outside, and nothing is said of what is hidden.
        hand_places: the same of the grippers, (n, 2, 2).
        names: (n, 12): what each entity is called, e.g. `upper left`; empty where the slot is unused.
    """

    images: Mapping[str, Images]
    hands: FloatArray
    entities: FloatArray
    mask: FloatArray
    places: Mapping[str, FloatArray]
    hand_places: Mapping[str, FloatArray]
    names: npt.NDArray[np.str_]


def survey(task: str, site: int, seed: int, frames: int, px: int) -> Survey:
    """Look at a task at a site for `frames` frames of `px` pixels' edge; as many episodes as that takes.

    Raises:
        UnknownName: for a task that is not simulated.
        NoGL: if there is no OpenGL to draw with.
    """
    rng = np.random.default_rng((seed, site))
    robot = SimRobot(Virtual(), site, disturbance=UNSTEADY, image_px=px, reset_s=0.0)
    seen: list[Seen] = []
    try:
        while len(seen) < frames:
            robot.reset(sim_task(task).task, int(rng.integers(2**31)))
            seen += _episode(robot, rng, min(MOST_FRAMES, frames - len(seen)))
    finally:
        robot.close()
    state = {name: np.stack([item.state[name] for item, _ in seen]) for name in ("hands", "entities", "mask", "names")}
    return Survey(
        images={camera: np.stack([item.images[camera] for item, _ in seen]) for camera in CAMERAS},
        hands=state["hands"],
        entities=state["entities"],
        mask=state["mask"],
        places={camera: np.stack([places[camera][HANDS:] for _, places in seen]) for camera in CAMERAS},
        hand_places={camera: np.stack([places[camera][:HANDS] for _, places in seen]) for camera in CAMERAS},
        names=_called(state["names"]),
    )


def _called(names: npt.NDArray[np.int32]) -> npt.NDArray[np.str_]:
    """(n, 12, 2) indices -> (n, 12) words."""
    words = np.array(NAMES)[names]
    return np.char.strip(np.char.add(np.char.add(words[..., 0], " "), words[..., 1]))


def _episode(robot: SimRobot, rng: np.random.Generator, most: int) -> list[Seen]:
    seen: list[Seen] = []
    goal: FloatArray | None = None
    tick = 0
    while len(seen) < most and not robot.success():
        if tick % BURST == 0:
            goal = _somewhere(robot, rng) if rng.random() < WANDER else None
        if tick % EVERY == 0:
            observation = robot.observe()
            state = observation.state
            positions = np.concatenate([state["hands"][:, POSITION], state["entities"][:, POSITION]])
            seen.append((observation, {camera: _places(robot.scene, camera, positions) for camera in CAMERAS}))
        robot.act(robot.action() if goal is None else goal)
        tick += 1
    return seen


def _somewhere(robot: SimRobot, rng: np.random.Generator) -> FloatArray:
    """(10,) set-points near where the grippers are."""
    pose = robot.scene.hands.pose()
    pose[:, :3] += rng.normal(0, REACH, (2, 3))
    pose[:, 3] += rng.normal(0, 0.4, 2)
    grip = rng.choice([-1.0, 1.0], (2, 1))
    return np.concatenate([pose, grip], axis=1).ravel().astype(np.float32)


def _places(scene: Scene, camera: str, positions: FloatArray) -> FloatArray:
    """(n, 3) metres -> (n, 2) in the picture that the camera would take now."""
    number = scene.model.camera(camera).id
    from_camera = (positions - scene.data.cam_xpos[number]) @ scene.data.cam_xmat[number].reshape(3, 3)
    depth = -from_camera[:, 2:]  # a camera looks along its negative z axis
    places = from_camera[:, :2] / np.maximum(depth, 1e-6) / np.tan(np.radians(scene.model.cam_fovy[number]) / 2)
    inside = (depth[:, 0] > 0) & (np.abs(places) < 1).all(axis=1)
    return np.where(inside[:, None], places * (1, -1), np.nan).astype(np.float32)
