"""Laundry: a cloth lies on the table, crumpled and off its place, and is folded in half on a coloured mark.

The cloth's control points keep their identity: ("left", "front") is the corner that lay front left when the cloth was
laid out, wherever it is now. The cloth starts turned by up to 0.3 rad against the mark and some centimetres in front of
its place, often with one corner folded over.
"""

import colorsys
from typing import ClassVar, Final

import mujoco
import numpy as np
import numpy.typing as npt

from fleetloop.sim.hands import HandsLayout
from fleetloop.sim.laundry_cloth import (
    BACK_EDGE,
    BACK_LEFT,
    BACK_RIGHT,
    CENTRE,
    CORNERS,
    COUNT,
    FRONT_EDGE,
    FRONT_LEFT,
    FRONT_RIGHT,
    LEFT_EDGE,
    RADIUS,
    RIGHT_EDGE,
    SIDE,
    Cloth,
    Grasps,
    cloth_mjcf,
)
from fleetloop.sim.layout import GOAL, HALF_SIZE, OBJECT, POSITION, X_AXIS, Z_AXIS
from fleetloop.sim.scene import Scene
from fleetloop.sim.site import SiteParameters

Array = npt.NDArray[np.float64]

INSTRUCTION: Final = "fold the cloth in half on the mark"
TIME_LIMIT: Final = 8.0  # seconds; 95 of 100 disturbed episodes of the expert take less than 4.5

# Control points by slot; the mark has the slot after them.
POINTS: Final = (
    (FRONT_LEFT, "left", "front"),
    (FRONT_RIGHT, "right", "front"),
    (BACK_LEFT, "left", "back"),
    (BACK_RIGHT, "right", "back"),
    (LEFT_EDGE, "left", "edge"),
    (RIGHT_EDGE, "right", "edge"),
    (FRONT_EDGE, "front", "edge"),
    (BACK_EDGE, "back", "edge"),
    (CENTRE, "cloth", "centre"),
)
POINT_VERTICES: Final = np.array([vertex for vertex, _, _ in POINTS])
MARK_SLOT: Final = len(POINTS)

MARK_CENTRE: Final = (0.0, 0.09)  # metres
MARK_SHIFT: Final = 0.02  # metres, either way
MARK_TURN: Final = 0.12  # radians, either way
MARK_HALF: Final = (SIDE / 2, SIDE / 4, 0.0005)

# Metres along the mark, from where the unfolded cloth would have its back half on the mark.
START_SHIFT: Final = ((-0.04, 0.04), (-0.08, 0.0))
START_TURN: Final = 0.3  # radians, either way
FOLDED_OVER: Final = 0.6  # share of the starts with a corner folded over
CREASE: Final = (0.04, 0.09)  # metres from the corner
CREASE_TURN: Final = 0.3  # radians that a crease may deviate from the cloth's diagonal
WRINKLED: Final = 0.5
SETTLE_STEPS: Final = 36  # 0.3 s
NUDGE_RADIUS: Final = 0.08  # metres
NUDGE_SPEED: Final = 2.0  # m/s on each axis
NUDGE_LIFT: Final = 0.4  # m/s upwards

# What counts as folded, and as lying on the mark.
CORNER_GAP: Final = 0.04  # metres between the corners of a pair
LEAST_WIDTH: Final = 0.85  # of the cloth's side
LEAST_DEPTH: Final = 0.8  # of half the cloth's side
GREATEST_HEIGHT: Final = 0.06  # metres above the table
MARK_DISTANCE: Final = 0.04  # metres between the centres; two aligned rectangles then share half of their union
MARK_ANGLE: Final = 0.35  # radians, modulo half a turn
HANDS_AWAY: Final = 0.04  # metres above the table


class FoldScene(Scene):
    """Fold the cloth in half on the mark."""

    layout = HandsLayout(
        home=((-0.22, -0.05, 0.15), (0.22, -0.05, 0.15)),
        low=(-0.45, -0.45, -0.004),
        high=(0.45, 0.45, 0.4),
        opening=0.02,
        # Pads touch the table alone: two hands that meet over the cloth would block each other.
        pad_collision='contype="2" conaffinity="0"',
    )
    # Newton takes twice as long with a cloth. With 15 iterations of CG the expert needs 1.7 times as many ticks.
    options = (
        f'<option timestep="{1 / 120}" solver="CG" iterations="30" tolerance="1e-6" integrator="implicitfast"/>'
        '<size memory="60M"/>'
    )
    substeps = 6
    front_camera: ClassVar[str] = 'pos="0 -.6 .55" xyaxes="1 0 0 0 .643 .766" fovy="40"'
    overhead_camera: ClassVar[str] = 'pos="0 0.03 .85" xyaxes="1 0 0 0 1 0" fovy="45"'

    def __init__(self, site: SiteParameters) -> None:
        super().__init__(site)
        self.surface = site.furniture_height
        table = self.model.geom("table").id
        self.model.geom_pos[table, 2] = self.surface
        self.model.geom_sameframe[table] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE  # else its position is not looked at
        self.cloth = Cloth(self.model, self.data)
        self.grasps = Grasps(self.model, self.data, self.cloth, self.hands, site.friction)
        self.mark = np.zeros(2)
        self.mark_yaw = 0.0
        self._mark_mocap = int(self.model.body("mark").mocapid[0])

    def world_mjcf(self) -> tuple[str, str, str]:
        cloth, grasps = cloth_mjcf(self.site, _colour(0.60 + self.site.hue, 0.75, 0.8))
        x, y, z = MARK_HALF
        colour = _colour(0.13 + self.site.hue, 0.75, 0.95)
        mark = f"""
        <body name="mark" mocap="true">
          <geom type="box" size="{x} {y} {z}" rgba="{colour}" contype="0" conaffinity="0"/>
        </body>"""
        return cloth + mark, grasps, ""

    # ------------------------------------------------------------------ the reset

    def place(self, rng: np.random.Generator) -> None:
        self.instruction = INSTRUCTION
        self.grasps.reset()
        self._place_mark(rng)
        self.cloth.lay(self._crumpled(rng))
        mujoco.mj_step(self.model, self.data, SETTLE_STEPS)
        for slot, (vertex, name, second) in enumerate(POINTS):
            self.table.use(slot, name, second, named=OBJECT if vertex == CENTRE else 0)
            self.table.values[slot, HALF_SIZE] = RADIUS
        self.table.use(MARK_SLOT, "mark", named=GOAL)
        row = self.table.values[MARK_SLOT]
        row[POSITION] = *self.mark, self.surface
        row[X_AXIS] = np.cos(self.mark_yaw), np.sin(self.mark_yaw), 0
        row[HALF_SIZE] = MARK_HALF

    def _place_mark(self, rng: np.random.Generator) -> None:
        self.mark = np.array(MARK_CENTRE) + self.site.furniture_offset + rng.uniform(-MARK_SHIFT, MARK_SHIFT, 2)
        self.mark_yaw = float(rng.uniform(-MARK_TURN, MARK_TURN))
        self.data.mocap_pos[self._mark_mocap] = *self.mark, self.surface
        self.data.mocap_quat[self._mark_mocap] = np.cos(self.mark_yaw / 2), 0, 0, np.sin(self.mark_yaw / 2)

    def _crumpled(self, rng: np.random.Generator) -> Array:
        """(49, 3): how the cloth starts: turned, off its place, maybe wrinkled, maybe with a corner folded over."""
        line = np.linspace(-SIDE / 2, SIDE / 2, COUNT)
        flat = np.stack([*np.meshgrid(line, line, indexing="ij"), np.zeros((COUNT, COUNT))], axis=-1).reshape(-1, 3)
        if rng.random() < FOLDED_OVER:
            _fold_over(flat, flat[rng.choice(CORNERS), :2].copy(), rng)
        shift = [rng.uniform(*bounds) for bounds in START_SHIFT] - np.array([0, SIDE / 4])
        start = flat.copy()
        start[:, :2] = (
            self.mark
            + (flat[:, :2] @ _rotation(rng.uniform(-START_TURN, START_TURN)).T + shift) @ _rotation(self.mark_yaw).T
        )
        if rng.random() < WRINKLED:
            start[:, 2] += 0.01 * np.abs(np.sin(start[:, 0] * 40 + rng.uniform(0, 6)))
        start[:, 2] += self.surface + RADIUS
        return start

    def nudge(self, rng: np.random.Generator) -> None:
        """Strike the cloth around one of its vertices; lying flat, it is displaced by 1 cm, at times by 4."""
        vertices = self.cloth.vertices()
        struck = np.linalg.norm((vertices - vertices[rng.integers(len(vertices))])[:, :2], axis=1) < NUDGE_RADIUS
        self.cloth.push(struck, np.array([*rng.uniform(-NUDGE_SPEED, NUDGE_SPEED, 2), NUDGE_LIFT]))

    # ------------------------------------------------------------------ grasps, entities

    def before_physics(self, sent: Array) -> None:
        self.grasps.update()

    def holding(self) -> npt.NDArray[np.float32]:
        return (self.grasps.vertex >= 0).astype(np.float32)

    def write_entities(self) -> None:
        values = self.table.values
        values[:MARK_SLOT, POSITION] = self.cloth.vertices()[POINT_VERTICES]
        values[:MARK_SLOT, X_AXIS], values[:MARK_SLOT, Z_AXIS] = self.cloth.frames(POINT_VERTICES)

    # ------------------------------------------------------------------ success

    def goal_reached(self) -> bool:
        if (self.hands.grip > 0).any() or (self.grasps.vertex >= 0).any():
            return False
        if (self.hands.pose()[:, 2] < self.surface + HANDS_AWAY).any():
            return False
        return self.folded() and self.on_mark()

    def folded(self) -> bool:
        """Whether front corners lie on back corners, and the folded cloth is neither narrow, short nor piled up."""
        vertices = self.cloth.vertices()
        corners = vertices[CORNERS, :2]
        front, back = corners[:2], corners[2:]
        if np.linalg.norm(front - back, axis=1).max() > CORNER_GAP:
            return False
        width = np.linalg.norm(back[1] - back[0])
        depth = np.linalg.norm((vertices[[LEFT_EDGE, RIGHT_EDGE], :2] - back).mean(axis=0))
        flat = vertices[:, 2].max() < self.surface + GREATEST_HEIGHT
        return bool(width > LEAST_WIDTH * SIDE and depth > LEAST_DEPTH * SIDE / 2 and flat)

    def on_mark(self) -> bool:
        """Whether the cloth's centre lies within 4 cm of the mark's, and its left-right axis within 0.35 rad."""
        vertices = self.cloth.vertices()[:, :2]
        if np.linalg.norm(vertices.mean(axis=0) - self.mark) > MARK_DISTANCE:
            return False
        across = vertices[[FRONT_RIGHT, BACK_RIGHT]].mean(axis=0) - vertices[[FRONT_LEFT, BACK_LEFT]].mean(axis=0)
        angle = np.arctan2(across[1], across[0]) - self.mark_yaw
        return bool(abs(np.sin(angle)) < np.sin(MARK_ANGLE))


def _fold_over(flat: Array, corner: Array, rng: np.random.Generator) -> None:
    """Reflect what lies beyond a crease near this corner, and lift it by a layer. Changes `flat`."""
    inward = _rotation(rng.uniform(-CREASE_TURN, CREASE_TURN)) @ (-corner / np.linalg.norm(corner))
    beyond = rng.uniform(*CREASE) - (flat[:, :2] - corner) @ inward
    over = beyond > 0
    flat[over, :2] += 2 * beyond[over, None] * inward
    flat[over, 2] += 0.014


def _rotation(angle: float) -> Array:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _colour(hue: float, saturation: float, brightness: float) -> str:
    return " ".join(f"{value:.3f}" for value in (*colorsys.hsv_to_rgb(hue % 1, saturation, brightness), 1.0))
