"""A square cloth of 7 x 7 vertices, and how the two grippers hold it.

The cloth is a MuJoCo flex: edges keep their length, nothing resists bending. No friction grasp that
was tried lifted it off the table, so a grasp is a point constraint between a gripper and the nearest
vertex of the cloth's rim. It comes about only in the moment the fingers close, within `REACH` of the vertex, and tears
off above a force that grows with the site's friction.
"""

from typing import Final

import mujoco
import numpy as np
import numpy.typing as npt

from fleetloop.sim.hands import Hands
from fleetloop.sim.site import SiteParameters

Array = npt.NDArray[np.float64]

SIDE: Final = 0.26  # metres
COUNT: Final = 7  # vertices along a side; odd, so that a row lies on the crease; 9 make physics 1.5 times as slow
MASS: Final = 0.08  # kg
RADIUS: Final = 0.004  # metres; the cloth lies this high above the table
LAST: Final = COUNT - 1
MIDDLE: Final = COUNT // 2

REACH: Final = 0.022  # metres from the fingertips to the vertex: half a cell of the grid
TIP: Final = -0.004  # metres; where between the pads a vertex is held, above the gripper's origin
CLOSED_GAP: Final = 0.012  # metres between the pads
TEARING_FORCE: Final = 2.0  # newtons; folding takes up to 0.85, a cloth pulled to 1.3 times its length 2.0

# Vertex (i, j) is number i * COUNT + j; i grows with x (left to right), j with y (front to back).
FRONT_LEFT: Final = 0
BACK_LEFT: Final = LAST
FRONT_RIGHT: Final = COUNT * LAST
BACK_RIGHT: Final = COUNT * COUNT - 1
CORNERS: Final = np.array([FRONT_LEFT, FRONT_RIGHT, BACK_LEFT, BACK_RIGHT])
LEFT_EDGE: Final = MIDDLE
RIGHT_EDGE: Final = COUNT * LAST + MIDDLE
FRONT_EDGE: Final = COUNT * MIDDLE
BACK_EDGE: Final = COUNT * MIDDLE + LAST
CENTRE: Final = COUNT * MIDDLE + MIDDLE

NEXT, AFTER = [1, 2, 0], [2, 0, 1]
EQUALITY: Final = int(mujoco.mjtConstraint.mjCNSTR_EQUALITY)  # comparing an array to the enum itself takes 0.2 ms


def cloth_mjcf(site: SiteParameters, colour: str) -> tuple[str, str]:
    """The cloth and the (inactive) grasps, as MJCF (bodies, equalities)."""
    spacing = SIDE / LAST
    # The contact has priority: else the larger friction of table and cloth counts, and no site is slippery.
    body = f"""
        <flexcomp name="cloth" type="grid" count="{COUNT} {COUNT} 1" spacing="{spacing} {spacing} {spacing}"
                  mass="{MASS * site.mass}" dim="2" radius="{RADIUS}" pos="0 0 {RADIUS}" rgba="{colour}">
          <edge equality="true" damping="0.02"/>
          <contact condim="3" selfcollide="none" solref="0.01 1" friction="{site.friction} 0.005 0.0001" priority="1"
                   contype="4" conaffinity="4"/>
        </flexcomp>"""
    grasps = "".join(
        f'<connect name="grasp_{hand}" body1="{hand}" body2="cloth_0" anchor="0 0 0" active="false" solref="0.02 1"/>'
        for hand in "LR"
    )
    return body, grasps


class Cloth:
    """The cloth of one running scene."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._data = data
        if hasattr(model, "flex_internal"):  # older MuJoCo: collisions of the cloth with itself, on by default
            model.flex_internal[:] = 0
        self.bodies = np.array([model.body(f"cloth_{index}").id for index in range(COUNT * COUNT)])
        joints = model.body_jntadr[self.bodies]
        self._qpos = model.jnt_qposadr[joints][:, None] + np.arange(3)
        self._qvel = model.jnt_dofadr[joints][:, None] + np.arange(3)
        self._rest = model.body_pos[self.bodies].copy()

    def vertices(self) -> Array:
        """(49, 3): where the vertices are (m); a view that the next physics step overwrites."""
        vertices: Array = self._data.flexvert_xpos
        return vertices

    def lay(self, vertices: Array) -> None:
        """Put the vertices at these positions (49, 3) in metres."""
        self._data.qpos[self._qpos] = vertices - self._rest

    def push(self, vertices: npt.NDArray[np.bool_], velocity: Array) -> None:
        """Add a velocity (m/s) to some of the vertices."""
        self._data.qvel[self._qvel[vertices]] += velocity

    def frames(self, chosen: npt.NDArray[np.int_]) -> tuple[Array, Array]:
        """(n, 3), (n, 3): unit vectors at the chosen vertices: towards the right edge, and out of the upper face.

        At a corner that is folded over, the second one points down.
        """
        grid = self.vertices().reshape(COUNT, COUNT, 3)
        column, row = np.divmod(chosen, COUNT)
        across = grid[np.minimum(column + 1, LAST), row] - grid[np.maximum(column - 1, 0), row]
        along = grid[column, np.minimum(row + 1, LAST)] - grid[column, np.maximum(row - 1, 0)]
        normal = across[:, NEXT] * along[:, AFTER] - across[:, AFTER] * along[:, NEXT]  # np.cross takes twice as long
        return _unit(across), _unit(normal)


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
    return unit


class Grasps:
    """Which vertex each gripper holds; -1 is none."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, cloth: Cloth, hands: Hands, friction: float) -> None:
        self._model, self._data, self._cloth, self._hands = model, data, cloth, hands
        self.tearing_force = TEARING_FORCE * friction
        self._equalities = np.array([model.equality(f"grasp_{hand}").id for hand in "LR"])
        column, row = np.divmod(np.arange(COUNT * COUNT), COUNT)
        self._rim = np.flatnonzero((column % LAST == 0) | (row % LAST == 0))
        self.vertex = np.full(2, -1)
        self._closed = np.zeros(2, bool)

    def reset(self) -> None:
        """Forget what was held."""
        self.vertex[:] = -1
        self._closed[:] = False

    def update(self) -> None:
        """Take hold where fingers have just closed, let go where they have opened or the cloth pulls too hard."""
        closed = self._hands.opening() < CLOSED_GAP
        for hand in (0, 1):
            if closed[hand] and not self._closed[hand]:
                self._take(hand)
            elif self.vertex[hand] >= 0 and (not closed[hand] or self.force(hand) > self.tearing_force):
                self.drop(hand)
        self._closed = closed

    def force(self, hand: int) -> float:
        """The force of this gripper's grasp in the last physics step (N)."""
        data = self._data
        rows = (data.efc_type == EQUALITY) & (data.efc_id == self._equalities[hand])
        return float(np.linalg.norm(data.efc_force[rows]))

    def drop(self, hand: int) -> None:
        """Let go."""
        self._data.eq_active[self._equalities[hand]] = 0
        self.vertex[hand] = -1

    def _take(self, hand: int) -> None:
        tip = self._hands.pose()[hand, :3] + (0, 0, TIP)
        distances = np.linalg.norm(self._cloth.vertices()[self._rim] - tip, axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] > REACH:
            return
        equality = self._equalities[hand]
        self.vertex[hand] = self._rim[nearest]
        self._model.eq_obj2id[equality] = self._cloth.bodies[self.vertex[hand]]
        self._model.eq_data[equality, :3] = (0, 0, TIP)
        self._model.eq_data[equality, 3:6] = 0
        self._data.eq_active[equality] = 1
