"""Box: a creased sheet of cardboard on a packing board, whose walls are raised and whose flaps are closed.

Nothing is grasped: closed grippers push. A panel stays where it is put, and latches once it is all but closed; a major
flap (front, back) latches only over closed minor ones (left, right), so the order of the flaps matters.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fleetloop.sim.hands import HandsLayout
from fleetloop.sim.layout import CLOSENESS, HALF_SIZE, HINGE_COS, HINGE_SIN, OBJECT, POSITION, X_AXIS, Z_AXIS
from fleetloop.sim.scene import Scene
from fleetloop.sim.site import SiteParameters

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

WALLS_TIME_LIMIT = 8.0
ASSEMBLE_TIME_LIMIT = 14.0

HALF_LENGTH, HALF_WIDTH, WALL_HEIGHT = 0.10, 0.07, 0.08
MINOR_FLAP, MAJOR_FLAP = 0.055, 0.066
THICKNESS = 0.0015  # half a panel's
BOARD_HEIGHT = 0.03

WALL_CLOSED, FLAP_CLOSED = 1.40, 1.30  # radians; what counts as raised and as closed
LATCH_ANGLE = 1.47
OPENING_SPEED = -1.0  # rad/s; a panel that is being knocked open does not latch
CLOSENESS_SCALE = 0.08
AWAY_HEIGHT, AWAY_DISTANCE = 0.12, 0.20

# A panel that lies flat cannot be lifted by a vertical finger: the sheet is creased, and its hinges stop short of flat.
WALL_RANGE, FLAP_RANGE = (0.3, 1.58), (-0.2, 1.62)
CREASE, CREASE_SPREAD = 0.45, 0.10
# Flaps spring back out unless latched, as cardboard does: a major flap that leans in would block the minor ones.
FLAP_STIFFNESS, FLAP_REST = 0.05, -0.12  # N m/rad, rad
MINOR_GAP, MAJOR_GAP = 0.018, 0.004  # metres by which a flap is narrower than its wall, at each edge
# Metres and radians that the sheet can slide: without a stop, a one-sided push once shoved it out of reach.
SHEET_RANGE, SHEET_TURN = 0.08, 0.5
PANEL_FRICTION = 0.15  # low, so that a pushing finger slides up along the panel

# Collision bits: pads meet panels, and major flaps meet minor ones; panels pass through all else.
PAD_BIT, MAJOR_BIT = 32, 64


@dataclass(frozen=True)
class Side:
    """One side of the box: its wall hangs on the base's edge, its flap on the wall's upper edge. Metres, radians."""

    name: str
    outward: float
    distance: float
    half_width: float
    flap: float
    minor: bool


SIDES = (
    Side("left", np.pi, HALF_LENGTH, HALF_WIDTH, MINOR_FLAP, minor=True),
    Side("right", 0.0, HALF_LENGTH, HALF_WIDTH, MINOR_FLAP, minor=True),
    Side("front", -np.pi / 2, HALF_WIDTH, HALF_LENGTH, MAJOR_FLAP, minor=False),
    Side("back", np.pi / 2, HALF_WIDTH, HALF_LENGTH, MAJOR_FLAP, minor=False),
)
LEFT_SIDE, RIGHT_SIDE, FRONT_SIDE, BACK_SIDE = range(4)
BASE_SLOT = 8


class BoxScene(Scene):
    """A box on its board. Hinges are numbered as slots are: walls 0 to 3, flaps 4 to 7, each in the order of `SIDES`.

    Attributes:
        board: height of the packing board's top in metres.
        closed_angle: (hinges,) radians from which on a panel counts as raised or closed.
    """

    layout = HandsLayout(
        home=((-0.34, -0.1, 0.26), (0.34, -0.1, 0.26)),
        low=(-0.45, -0.45, 0.015),
        high=(0.45, 0.45, 0.45),
        opening=0.0,
        pad_collision=f'contype="{PAD_BIT}" conaffinity="{PAD_BIT | 1}"',
    )
    front_camera = 'pos="0 -0.76 0.60" xyaxes="1 0 0 0 .58 .815" fovy="42"'
    overhead_camera = 'pos="0 0 0.95" xyaxes="1 0 0 0 1 0" fovy="45"'

    task_instruction: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]

    def __init__(self, site: SiteParameters) -> None:
        super().__init__(site)
        names = [f"{side.name}_{kind}" for kind in self.kinds for side in SIDES]
        model = self.model
        self._qpos = np.array([model.joint(name).qposadr[0] for name in names])
        self._qvel = np.array([model.joint(name).dofadr[0] for name in names])
        self._latches = np.array([model.eq(f"latch_{name}").id for name in names])
        self._hinge_bodies = np.array([model.body(name).id for name in names])
        self._base_body = model.body("base").id
        self._base_qpos = np.array([model.joint(f"base_{axis}").qposadr[0] for axis in ("x", "y", "yaw")])
        self._base_qvel = np.array([model.joint(f"base_{axis}").dofadr[0] for axis in ("x", "y", "yaw")])
        self._slots = np.array([*range(len(names)), BASE_SLOT])
        self._geoms = np.array([model.geom(name).id for name in (*names, "base")])
        self.closed_angle = np.array(
            [WALL_CLOSED if kind == "wall" else FLAP_CLOSED for kind in self.kinds for _ in SIDES]
        )

    def world_mjcf(self) -> tuple[str, str, str]:
        self.board = BOARD_HEIGHT + self.site.furniture_height
        x, y = self.site.furniture_offset
        friction = self.site.friction
        walls = "".join(self._wall_mjcf(side) for side in SIDES)
        bodies = f"""
        <geom name="board" type="box" size="0.30 0.26 {self.board / 2}" pos="{x} {y} {self.board / 2}"
              rgba="{self.site.rgba(0.34, 0.45, 0.52)}" conaffinity="0"/>
        <body name="base" pos="{x} {y} {self.board}">
          <joint name="base_x" type="slide" axis="1 0 0" range="-{SHEET_RANGE} {SHEET_RANGE}"
                 limited="true" frictionloss="{6 * friction}" damping="20"/>
          <joint name="base_y" type="slide" axis="0 1 0" range="-{SHEET_RANGE} {SHEET_RANGE}"
                 limited="true" frictionloss="{6 * friction}" damping="20"/>
          <joint name="base_yaw" type="hinge" axis="0 0 1" range="-{SHEET_TURN} {SHEET_TURN}"
                 limited="true" frictionloss="{0.36 * friction}" damping="0.5"/>
          <geom name="base" type="box" size="{HALF_LENGTH} {HALF_WIDTH} 0.002" pos="0 0 0.002"
                mass="{0.3 * self.site.mass}" rgba="{self.site.rgba(0.7, 0.5, 0.3)}" contype="0" conaffinity="0"/>
          {walls}
        </body>"""
        latches = "".join(
            f'<joint name="latch_{side.name}_{kind}" joint1="{side.name}_{kind}" polycoef="{np.pi / 2} 0 0 0 0" '
            'active="false" solref="0.02 1"/>'
            for kind in self.kinds
            for side in SIDES
        )
        # Closed fingers would otherwise press on each other in eight contacts for ever.
        fingers = '<contact><exclude body1="Ll" body2="Lr"/><exclude body1="Rl" body2="Rr"/></contact>'
        return bodies, latches, fingers

    def _wall_mjcf(self, side: Side) -> str:
        x, y = side.distance * np.cos(side.outward), side.distance * np.sin(side.outward)
        low, high = WALL_RANGE
        return f"""
        <body name="{side.name}_wall" pos="{x} {y} {0.004 if side.minor else 0.005}" euler="0 0 {side.outward}">
          <joint name="{side.name}_wall" type="hinge" axis="0 -1 0" range="{low} {high}" limited="true" damping="0.01"
                 frictionloss="{0.04 * self.site.friction}" armature="0.0003"/>
          <geom name="{side.name}_wall" type="box" size="{WALL_HEIGHT / 2} {side.half_width - 0.002} {THICKNESS}"
                pos="{WALL_HEIGHT / 2} 0 0" mass="{0.02 * self.site.mass}" rgba="{self.site.rgba(0.78, 0.58, 0.36)}"
                contype="0" conaffinity="{PAD_BIT}" {self._surface()}/>
          {self._flap_mjcf(side) if "flap" in self.kinds else ""}
        </body>"""

    def _flap_mjcf(self, side: Side) -> str:
        low, high = FLAP_RANGE
        contype, conaffinity = (0, PAD_BIT | MAJOR_BIT) if side.minor else (MAJOR_BIT, PAD_BIT)
        half_width = side.half_width - (MINOR_GAP if side.minor else MAJOR_GAP)
        return f"""
        <body name="{side.name}_flap" pos="{WALL_HEIGHT} 0 0">
          <joint name="{side.name}_flap" type="hinge" axis="0 -1 0" range="{low} {high}" limited="true" damping="0.005"
                 frictionloss="{0.006 * self.site.friction}" stiffness="{FLAP_STIFFNESS}" springref="{FLAP_REST}"
                 armature="0.0002"/>
          <geom name="{side.name}_flap" type="box" size="{side.flap / 2} {half_width} {THICKNESS}"
                pos="{side.flap / 2} 0 0" mass="{0.012 * self.site.mass}" rgba="{self.site.rgba(0.85, 0.68, 0.45)}"
                contype="{contype}" conaffinity="{conaffinity}" {self._surface()}/>
        </body>"""

    def _surface(self) -> str:
        return f'friction="{PANEL_FRICTION * self.site.friction}" priority="2" condim="3" solref="0.01 1"'

    def place(self, rng: np.random.Generator) -> None:
        self.instruction = self.task_instruction
        qpos = self.data.qpos
        qpos[self._base_qpos] = rng.uniform((-0.04, -0.04, -0.25), (0.04, 0.04, 0.25))
        qpos[self._qpos[:4]] = CREASE + rng.uniform(-CREASE_SPREAD, CREASE_SPREAD, 4)
        qpos[self._qpos[4:]] = FLAP_REST + rng.uniform(-0.05, 0.05, len(self._qpos) - 4)
        if rng.random() < 0.3:  # one wall is already half up
            qpos[self._qpos[rng.integers(4)]] = rng.uniform(0.6, 1.4)
        self._name_entities()

    def _name_entities(self) -> None:
        for slot, (kind, side) in enumerate((kind, side) for kind in self.kinds for side in SIDES):
            self.table.use(slot, side.name, kind, named=self.named(kind))
        self.table.use(BASE_SLOT, "box", "base", named=self.named("base"))
        self.table.values[self._slots, HALF_SIZE] = self.model.geom_size[self._geoms]

    @abstractmethod
    def named(self, kind: str) -> int:
        """What the instruction says of the box's parts of this kind: 0 or OBJECT."""

    @abstractmethod
    def may_latch(self, angles: Array) -> Flags:
        """(hinges,): which panels would stay shut now, were they closed."""

    def write_entities(self) -> None:
        values, slots = self.table.values, self._slots
        rotation = self.data.geom_xmat[self._geoms]
        values[slots, POSITION] = self.data.geom_xpos[self._geoms]
        values[slots, X_AXIS] = rotation[:, 0::3]
        values[slots, Z_AXIS] = rotation[:, 2::3]
        angles = self.angles()
        values[: len(angles), HINGE_SIN] = np.sin(angles)
        values[: len(angles), HINGE_COS] = np.cos(angles)
        values[: len(angles), CLOSENESS] = np.tanh((angles - LATCH_ANGLE) / CLOSENESS_SCALE)

    def angles(self) -> Array:
        """(hinges,): radians; a wall is flat at 0 and upright at pi/2, a flap lines up with its wall at 0."""
        angles: Array = self.data.qpos[self._qpos]
        return angles

    def base_pose(self) -> Array:
        """(3,): x, y (m) and yaw (rad) of the box's base."""
        x, y = self.data.xpos[self._base_body, :2]
        return np.array([x, y, self.data.qpos[self._base_qpos[2]]])

    def hinge_positions(self) -> Array:
        """(hinges, 3): the middle of each crease in metres."""
        positions: Array = self.data.xpos[self._hinge_bodies]
        return positions

    def before_physics(self, sent: Array) -> None:
        angles = self.angles()
        caught = (angles > LATCH_ANGLE) & (self.data.qvel[self._qvel] > OPENING_SPEED) & self.may_latch(angles)
        self.data.eq_active[self._latches] |= caught

    def goal_reached(self) -> bool:
        if not (self.angles() > self.closed_angle).all():
            return False
        hands = self.hands.pose()
        distance = np.hypot(*(hands[:, :2] - self.base_pose()[:2]).T)
        return bool(((hands[:, 2] > self.board + AWAY_HEIGHT) | (distance > AWAY_DISTANCE)).all())

    def nudge(self, rng: np.random.Generator) -> None:
        """Shove the box and knock one wall open."""
        wall = int(rng.integers(4))
        self.data.eq_active[self._latches[wall]] = 0
        self.data.qvel[self._qvel[wall]] -= rng.uniform(12, 20)
        self.data.qvel[self._base_qvel[:2]] += rng.uniform(-0.5, 0.5, 2)


class WallsScene(BoxScene):
    """Raise the four walls of a creased sheet; there are no flaps."""

    task_instruction = "raise the walls of the box"
    kinds = ("wall",)

    def named(self, kind: str) -> int:
        return OBJECT if kind == "wall" else 0

    def may_latch(self, angles: Array) -> Flags:
        return np.ones(len(angles), bool)


class AssembleScene(BoxScene):
    """Raise the walls, then close the flaps: left and right, and over them front and back."""

    task_instruction = "assemble the box"
    kinds = ("wall", "flap")

    def named(self, kind: str) -> int:
        return OBJECT

    def may_latch(self, angles: Array) -> Flags:
        allowed = np.ones(len(angles), bool)
        allowed[4:] = angles[:4] > WALL_CLOSED
        minors = angles[[4 + LEFT_SIDE, 4 + RIGHT_SIDE]]
        allowed[[4 + FRONT_SIDE, 4 + BACK_SIDE]] &= (minors > FLAP_CLOSED).all()
        return allowed
