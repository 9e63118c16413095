"""The items that a shop sells, and bodies that can become any of them without compiling the model anew."""

import colorsys
from dataclasses import dataclass
from math import hypot
from typing import Literal

import mujoco
import numpy as np
import numpy.typing as npt

from fleetloop.sim.layout import ITEM_NAMES
from fleetloop.sim.site import SiteParameters

Array = npt.NDArray[np.float64]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class ItemType:
    """One kind of item. `half_size` in metres (a cylinder's first two are its radius), `mass` in kg.

    The thin side of a box lies along x, so that a gripper that faces the item squarely fits over it.
    """

    shape: Literal["box", "cylinder"]
    half_size: tuple[float, float, float]
    mass: float
    friction: float
    colour: Colour

    @property
    def is_carton(self) -> bool:
        """Whether it is a box that stands taller than it is deep."""
        return self.shape == "box" and self.half_size[2] > self.half_size[1]


def _cylinder(radius: float, half_height: float, mass: float, friction: float, colour: Colour) -> ItemType:
    return ItemType("cylinder", (radius, radius, half_height), mass, friction, colour)


# Wider than 3.6 cm a side and 6 cm up, an item no longer fits between the open pads or under the lower shelf's roof.
ITEM_TYPES: dict[str, ItemType] = {
    "cereal": ItemType("box", (0.025, 0.035, 0.060), 0.30, 0.70, (0.85, 0.20, 0.15)),
    "soup": _cylinder(0.030, 0.045, 0.40, 0.65, (0.20, 0.45, 0.80)),
    "milk": ItemType("box", (0.029, 0.029, 0.055), 0.50, 0.60, (0.95, 0.95, 0.95)),
    "soap": ItemType("box", (0.022, 0.032, 0.025), 0.15, 0.55, (0.40, 0.85, 0.45)),
    "juice": ItemType("box", (0.026, 0.026, 0.060), 0.40, 0.60, (0.95, 0.60, 0.10)),
    "chocolate": ItemType("box", (0.024, 0.030, 0.050), 0.35, 0.70, (0.45, 0.27, 0.15)),
    "coffee": _cylinder(0.028, 0.050, 0.30, 0.70, (0.15, 0.13, 0.14)),
    "tea": ItemType("box", (0.025, 0.032, 0.050), 0.12, 0.70, (0.10, 0.45, 0.25)),
    "rice": ItemType("box", (0.024, 0.033, 0.050), 0.45, 0.65, (0.90, 0.80, 0.55)),
    "pasta": ItemType("box", (0.023, 0.030, 0.058), 0.35, 0.65, (0.15, 0.25, 0.60)),
    "beans": _cylinder(0.028, 0.040, 0.38, 0.65, (0.60, 0.25, 0.60)),
    "salt": _cylinder(0.026, 0.045, 0.45, 0.65, (0.45, 0.75, 0.85)),
}
if tuple(ITEM_TYPES) != ITEM_NAMES:
    raise ValueError("items: ITEM_TYPES and layout.ITEM_NAMES differ")

TWISTING_FRICTION = 0.03  # metres; with 0.005 a can tips forward between the pads while it is carried
ROLLING_FRICTION = 0.002

_GEOM_TYPES = {"box": mujoco.mjtGeom.mjGEOM_BOX, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER}


def shifted_hue(colour: Colour, shift: float) -> Colour:
    """`colour` with its hue turned by `shift` (1 is the whole circle)."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    return colorsys.hsv_to_rgb((hue + shift) % 1.0, saturation, value)


def items_mjcf(count: int) -> str:
    """`count` free bodies, to be turned into items by `ItemBodies.become`.

    Items have contact priority, so that an item's own friction decides whether it slips between the pads; the explicit
    inertia keeps the inertial frame equal to the body's frame whatever the body becomes.
    """
    contact = 'condim="4" priority="1" solref="0.01 1" solimp="0.95 0.99 0.001"'
    return "".join(
        f"""
        <body name="item{index}"><freejoint name="item{index}"/>
          <inertial pos="0 0 0" mass="0.3" diaginertia="4e-4 4e-4 2e-4"/>
          <geom name="item{index}" type="box" size="0.03 0.03 0.06" {contact}/>
        </body>"""
        for index in range(count)
    )


class ItemBodies:
    """The item bodies of one running scene: what each is at present, and where."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, count: int) -> None:
        self._model, self._data = model, data
        self._scratch = mujoco.MjData(model)
        names = [f"item{index}" for index in range(count)]
        self.geoms = np.array([model.geom(name).id for name in names])
        self.bodies = np.array([model.body(name).id for name in names])
        self._qpos = np.array([model.joint(name).qposadr[0] for name in names])
        self._dofs = np.array([model.joint(name).dofadr[0] for name in names])
        self._position_index = self._qpos[:, None] + np.arange(3)
        self.types: list[ItemType] = [ITEM_TYPES["milk"]] * count
        self.half_sizes = np.zeros((count, 3))

    def become(self, names: list[str], site: SiteParameters) -> None:
        """Turn the bodies into items of these names, with the site's friction, mass and colours."""
        for index, name in enumerate(names):
            self.types[index] = ITEM_TYPES[name]
            self.half_sizes[index] = ITEM_TYPES[name].half_size
            self._rewrite(index, ITEM_TYPES[name], site)
        # The solver scales contact forces by constants that it derived from the old masses.
        mujoco.mj_setConst(self._model, self._scratch)

    def _rewrite(self, index: int, item: ItemType, site: SiteParameters) -> None:
        model, geom, body = self._model, self.geoms[index], self.bodies[index]
        half = np.array(item.half_size)
        is_box = item.shape == "box"
        model.geom_type[geom] = _GEOM_TYPES[item.shape]
        model.geom_size[geom] = half if is_box else (half[0], half[2], 0.0)
        model.geom_rbound[geom] = np.linalg.norm(half if is_box else half[1:])
        # Collision detection culls by two copies of the bounding box: the geom's and the body's.
        model.geom_aabb[geom, 3:] = half
        model.bvh_aabb[model.body_bvhadr[body], 3:] = half
        model.geom_friction[geom] = item.friction * site.friction, TWISTING_FRICTION, ROLLING_FRICTION
        model.geom_condim[geom] = 4 if is_box else 6  # without rolling friction a fallen can never stops
        model.geom_rgba[geom] = *shifted_hue(item.colour, site.hue), 1.0
        mass = item.mass * site.mass
        squares = half**2
        across = squares.sum() - squares
        model.body_mass[body] = mass
        if is_box:
            model.body_inertia[body] = mass / 3 * across
        else:
            sideways = mass * (squares[0] / 4 + squares[2] / 3)
            model.body_inertia[body] = sideways, sideways, mass * squares[0] / 2

    def put(self, index: int, x: float, y: float, bottom: float, yaw: float) -> None:
        """Stand an item upright on `bottom` (m) at x, y, turned by `yaw`."""
        start = self._qpos[index]
        height = bottom + self.half_sizes[index, 2]
        self._data.qpos[start : start + 7] = x, y, height, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)

    def push(self, index: int, velocity: Array) -> None:
        """Add a horizontal (2,) velocity (m/s) to an item."""
        start = self._dofs[index]
        self._data.qvel[start : start + 2] += velocity

    def positions(self) -> Array:
        """(count, 3): the items' centres in metres."""
        positions: Array = self._data.qpos[self._position_index]
        return positions

    def position(self, index: int) -> Array:
        """(3,): a copy of an item's centre in metres."""
        start = self._qpos[index]
        position: Array = self._data.qpos[start : start + 3].copy()
        return position

    def rotations(self) -> Array:
        """(count, 3, 3): the items' axes, as columns."""
        rotations: Array = self._data.xmat[self.bodies].reshape(-1, 3, 3)
        return rotations

    def rotation(self, index: int) -> Array:
        """(3, 3): an item's axes, as columns."""
        rotation: Array = self._data.xmat[self.bodies[index]].reshape(3, 3)
        return rotation

    def vertical_extent(self, index: int) -> float:
        """Metres from an item's centre to its lowest point."""
        half = self.types[index].half_size
        x, y, z = (abs(height) for height in self.rotation(index)[2].tolist())
        if self.types[index].shape == "box":
            return float(x * half[0] + y * half[1] + z * half[2])
        return float(hypot(x, y) * half[0] + z * half[2])
