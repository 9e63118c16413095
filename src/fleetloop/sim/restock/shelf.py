"""`restock/shelf`: put the named item on the named one of four shelves."""

from fleetloop.sim.items import shifted_hue
from fleetloop.sim.restock.furniture import Slot, open_front
from fleetloop.sim.restock.open_front import OpenFrontExpert
from fleetloop.sim.restock.scene import RestockScene
from fleetloop.sim.site import SiteParameters

TIME_LIMIT = 7.0  # seconds

CENTRE_Y = 0.32
COLUMNS = {"left": -0.115, "right": 0.115}  # side by side: in a gap between two walls a pad gets stuck
ROWS = {"upper": (0.30, 0.12), "lower": (0.02, 0.13)}  # floor and half height
HALF_WIDTH, HALF_DEPTH = 0.115, 0.10
WOOD = (0.62, 0.45, 0.28)


class ShelfScene(RestockScene):
    """Two by two open-fronted compartments; the upper ones have no roof."""

    def make_slots(self, site: SiteParameters) -> tuple[Slot, ...]:
        (x, y), z = site.furniture_offset, site.furniture_height
        return tuple(
            Slot((row, column), x + offset, CENTRE_Y + y, floor + z, HALF_WIDTH, HALF_DEPTH, half_height)
            for row, (floor, half_height) in ROWS.items()
            for column, offset in COLUMNS.items()
        )

    def furniture_mjcf(self) -> str:
        colour = shifted_hue(WOOD, self.site.hue)
        return "".join(open_front(slot, colour, roof=slot.words[0] == "lower") for slot in self.slots)

    def describe(self, item: str, slot: Slot) -> str:
        return f"put the {item} on the {slot.words[0]} {slot.words[1]} shelf"


class ShelfExpert(OpenFrontExpert[ShelfScene]):
    """Puts the target on its shelf."""
