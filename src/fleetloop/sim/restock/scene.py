"""What the restock tasks share: three items, a tray, slots, and when an item counts as placed."""

from abc import abstractmethod
from typing import ClassVar

import mujoco
import numpy as np
import numpy.typing as npt

from fleetloop.sim.hands import HandsLayout
from fleetloop.sim.items import ItemBodies, items_mjcf
from fleetloop.sim.layout import GOAL, HALF_SIZE, OBJECT, POSITION, X_AXIS, Z_AXIS
from fleetloop.sim.restock.furniture import Slot, tray
from fleetloop.sim.scene import Scene
from fleetloop.sim.site import SiteParameters

Array = npt.NDArray[np.float64]

ITEMS = 3
SPACING = 0.14  # metres between items in the tray: an open gripper fits between them
SIDE_MARGIN, DEPTH_MARGIN = 0.02, 0.01  # metres that an item's centre keeps from the slot's sides, front and back
FLOOR_TOLERANCE = 0.012
AWAY = 0.08  # metres from hand to item once it has let go
OPEN_GAP = 0.07  # metres between the pads of a hand that counts as open


class RestockScene(Scene):
    """Three items, one of them (`target`) to be put into one of the `slots` (`goal`).

    Entity table: 0-2 the items in random order, then the slots in a fixed order; a slot's position is the
    centre of its floor.
    """

    layout = HandsLayout(
        home=((-0.28, -0.10, 0.30), (0.28, -0.10, 0.30)),
        low=(-0.45, -0.45, 0.012),
        high=(0.45, 0.50, 0.60),
    )
    spawn_x: ClassVar[tuple[float, float]] = (-0.20, 0.20)
    spawn_y: ClassVar[tuple[float, float]] = (-0.29, -0.13)
    nudge_speed: ClassVar[float] = 0.5
    front_camera = 'pos="0 -1.15 0.95" xyaxes="1 0 0 0 .545 .84" fovy="39"'

    def __init__(self, site: SiteParameters) -> None:
        self.slots = self.make_slots(site)
        super().__init__(site)
        self.items = ItemBodies(self.model, self.data, ITEMS)
        self.item_names = [""] * ITEMS
        self.target = 0
        self.goal = 0

    @abstractmethod
    def make_slots(self, site: SiteParameters) -> tuple[Slot, ...]:
        """The slots, in the order of the entity table."""

    @abstractmethod
    def furniture_mjcf(self) -> str:
        """The bodies around the slots."""

    @property
    def front(self) -> float:
        """The y (m) of the furniture's open side."""
        return self.slots[0].y - self.slots[0].half_depth

    def world_mjcf(self) -> tuple[str, str, str]:
        return tray() + self.furniture_mjcf() + items_mjcf(ITEMS), "", ""

    # ------------------------------------------------------------------ reset

    def place(self, rng: np.random.Generator) -> None:
        self.draw_task(rng)
        self.items.become(self.item_names, self.site)
        self.arrange(rng)
        for index, name in enumerate(self.item_names):
            self.table.use(index, name, named=OBJECT if index == self.target else 0)
        self.table.values[:ITEMS, HALF_SIZE] = self.items.half_sizes
        self.use_slots()
        mujoco.mj_step(self.model, self.data, 5)  # let the items settle

    def draw_task(self, rng: np.random.Generator) -> None:
        """Choose `item_names`, `target`, `goal` and `instruction`."""
        candidates = self.candidate_items()
        self.item_names = [candidates[index] for index in rng.permutation(len(candidates))[:ITEMS]]
        self.target = int(rng.integers(ITEMS))
        self.goal = int(rng.integers(len(self.slots)))
        self.instruction = self.describe(self.item_names[self.target], self.slots[self.goal])

    def candidate_items(self) -> tuple[str, ...]:
        """The names of the items that may stand in this scene."""
        return self.site.item_names

    @abstractmethod
    def describe(self, item: str, slot: Slot) -> str:
        """The instruction to put `item` into `slot`."""

    def arrange(self, rng: np.random.Generator) -> None:
        """Stand the items in the tray, apart from each other."""
        for index, (x, y) in enumerate(self._spots(rng)):
            self.items.put(index, x, y, 0.001, float(rng.uniform(-0.6, 0.6)))

    def _spots(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        while True:
            spots: list[tuple[float, float]] = []
            for _ in range(20):
                x, y = float(rng.uniform(*self.spawn_x)), float(rng.uniform(*self.spawn_y))
                if all((x - a) ** 2 + (y - b) ** 2 > SPACING**2 for a, b in spots):
                    spots.append((x, y))
                if len(spots) == ITEMS:
                    return spots

    def use_slots(self) -> None:
        """Enter the slots into the table."""
        for index, slot in enumerate(self.slots):
            row = ITEMS + index
            self.table.use(row, *slot.words, named=GOAL if index == self.goal else 0)
            self.table.values[row, POSITION] = slot.x, slot.y, slot.floor
            self.table.values[row, HALF_SIZE] = slot.half_width, slot.half_depth, slot.half_height

    # ------------------------------------------------------------------ the episode

    def write_entities(self) -> None:
        values, axes = self.table.values, self.items.rotations()
        values[:ITEMS, POSITION] = self.items.positions()
        values[:ITEMS, X_AXIS] = axes[:, :, 0]
        values[:ITEMS, Z_AXIS] = axes[:, :, 2]

    def placed(self) -> bool:
        """Whether the target stands (or lies) on the floor of its slot."""
        slot, (x, y, z) = self.slots[self.goal], self.items.position(self.target)
        if abs(x - slot.x) > slot.half_width - SIDE_MARGIN or abs(y - slot.y) > slot.half_depth - DEPTH_MARGIN:
            return False
        bottom = z - self.items.vertical_extent(self.target)
        return bool(abs(bottom - slot.floor) < FLOOR_TOLERANCE)

    def hands_away(self) -> bool:
        """Whether both hands are open and none is at the target."""
        if (self.hands.grip > 0).any() or (self.hands.opening() < OPEN_GAP).any():
            return False
        offsets = self.hands.pose()[:, :3] - self.items.position(self.target)
        return bool((np.square(offsets).sum(axis=1) > AWAY**2).all())

    def goal_reached(self) -> bool:
        return self.placed() and self.hands_away()

    def held(self) -> tuple[bool, bool]:
        """Per hand: whether both of its pads touch the target."""
        return self.grasped(self.items.geoms[self.target])

    def grasped(self, geom: int) -> tuple[bool, bool]:
        """Per hand: whether both of its pads touch the geom."""
        pairs = self.data.contact.geom
        touched = set(pairs[(pairs == geom).any(axis=1)].ravel().tolist())
        (left_a, left_b), (right_a, right_b) = self.hands.pads.tolist()
        return left_a in touched and left_b in touched, right_a in touched and right_b in touched

    def nudge(self, rng: np.random.Generator) -> None:
        self.items.push(self.target, rng.uniform(-self.nudge_speed, self.nudge_speed, 2))
