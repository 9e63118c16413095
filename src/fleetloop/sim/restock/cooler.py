"""`restock/cooler`: stand the named carton up in the named one of three cells."""

from math import hypot

import numpy as np
import numpy.typing as npt

from fleetloop.sim.expert import CLOSE
from fleetloop.sim.items import ITEM_TYPES, shifted_hue
from fleetloop.sim.restock.expert import RestockExpert
from fleetloop.sim.restock.furniture import TRAY_BACK, Slot, block
from fleetloop.sim.restock.scene import RestockScene
from fleetloop.sim.site import SiteParameters

Array = npt.NDArray[np.float64]

TIME_LIMIT = 6.5  # seconds

CENTRE_Y = 0.27
FLOOR = 0.02
CELLS = {"left": -0.133, "middle": 0.0, "right": 0.133}
HALF_WIDTH, HALF_DEPTH = 0.0665, 0.08
WALL_HEIGHT = 0.045  # lower than the pads of a hand that holds a carton, which can thus open in a cell
WALL_HALF = 0.004
BLUE = (0.35, 0.60, 0.85)
UPRIGHT = 0.95  # cosine of the greatest lean

OVER_TRAY = 0.13
OVER_WALLS = WALL_HEIGHT + 0.03
CENTRED = 0.014  # metres off a cell's centre within which a carton may go all the way down
FUNNEL_SLOPE = 3.0


class CoolerScene(RestockScene):
    """An open chest with three cells side by side, and three cartons; a carton that has toppled is lost."""

    nudge_speed = 0.3  # m/s: a harder push topples a carton, and two fingers cannot right it

    def make_slots(self, site: SiteParameters) -> tuple[Slot, ...]:
        (x, y), floor = site.furniture_offset, FLOOR + site.furniture_height
        return tuple(
            Slot((cell, "cooler"), x + offset, CENTRE_Y + y, floor, HALF_WIDTH, HALF_DEPTH, WALL_HEIGHT / 2)
            for cell, offset in CELLS.items()
        )

    def furniture_mjcf(self) -> str:
        left, middle, right = self.slots
        colour = shifted_hue(BLUE, self.site.hue)
        half_x, half_height = 3 * HALF_WIDTH, WALL_HEIGHT / 2
        walls_z = middle.floor + half_height
        base = block((half_x, HALF_DEPTH, middle.floor / 2), (middle.x, middle.y, middle.floor / 2), colour)
        walls_along_x = [
            block((half_x, WALL_HALF, half_height), (middle.x, middle.y + side, walls_z), colour)
            for side in (-HALF_DEPTH, HALF_DEPTH)
        ]
        walls_along_y = [
            block((WALL_HALF, HALF_DEPTH, half_height), (x, middle.y, walls_z), colour)
            for x in (left.x - HALF_WIDTH, left.x + HALF_WIDTH, right.x - HALF_WIDTH, right.x + HALF_WIDTH)
        ]
        return "".join([base, *walls_along_x, *walls_along_y])

    def candidate_items(self) -> tuple[str, ...]:
        """The site's cartons: seven of the twelve items are, so that any site's eight include three."""
        return tuple(name for name in self.site.item_names if ITEM_TYPES[name].is_carton)

    def describe(self, item: str, slot: Slot) -> str:
        return f"stand the {item} up in the {slot.words[0]} cooler"

    def placed(self) -> bool:
        return super().placed() and bool(abs(self.items.rotation(self.target)[2, 2]) > UPRIGHT)


class CoolerExpert(RestockExpert[CoolerScene]):
    """Lowers the carton into its cell from above."""

    def look(self) -> None:
        super().look()
        self.off_cell = hypot(self.item[0] - self.slot.x, self.item[1] - self.slot.y)

    def ready_to_release(self) -> bool:
        return self.placed and (self.off_cell < 2 * CENTRED or not any(self.held))

    def leave(self, hand: int) -> Array:
        x, y, z, _ = self.pose[hand]
        top = self.item[2] + self.extent
        if hypot(x - self.item[0], y - self.item[1]) < 0.06 and z < top + 0.02:
            return self.go(hand, (x, y, top + 0.05))
        return self.park(hand)

    def carry(self, hand: int) -> Array:
        x, y, z, _ = self.pose[hand]
        grip_x, grip_y, grip_z = x - self.item[0], y - self.item[1], z - self.bottom
        lift = OVER_TRAY if self.item[1] < TRAY_BACK + 0.02 else self.slot.floor + OVER_WALLS
        if self.off_cell > 0.04 and self.bottom < lift - 0.03:
            return self.go(hand, (x, y, lift + grip_z), yaw=0.0, grip=CLOSE)
        low = self.slot.floor - 0.004
        bottom = low + min(max(self.off_cell - CENTRED, 0.0) * FUNNEL_SLOPE, lift - low)
        return self.go(hand, (self.slot.x + grip_x, self.slot.y + grip_y, bottom + grip_z), yaw=0.0, grip=CLOSE)
