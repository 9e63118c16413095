"""`restock/misplaced`: every shelf carries a label; one item stands on the wrong one, and its own is empty."""

import numpy as np

from fleetloop.sim.items import ITEM_TYPES, shifted_hue
from fleetloop.sim.layout import GOAL, HALF_SIZE, POSITION
from fleetloop.sim.restock.furniture import Slot, block
from fleetloop.sim.restock.open_front import OpenFrontExpert
from fleetloop.sim.restock.scene import ITEMS
from fleetloop.sim.restock.shelf import ShelfScene
from fleetloop.sim.site import SiteParameters

TIME_LIMIT = 7.0  # seconds
TAG_HALF = (0.05, 0.002, 0.014)


class MisplacedScene(ShelfScene):
    """The shelf of `restock/shelf`; a slot's name is the item that belongs there, its tag has the item's colour.

    `labels` holds the four names in the order of `slots`.
    """

    def __init__(self, site: SiteParameters) -> None:
        super().__init__(site)
        self.labels: list[str] = []
        self._standing_in: list[int] = []
        self._tags = [self.model.geom(f"tag{index}").id for index in range(len(self.slots))]

    def furniture_mjcf(self) -> str:
        tags = [
            block(
                TAG_HALF,
                (slot.x, slot.y - slot.half_depth, slot.floor),
                (1.0, 1.0, 1.0),
                f'name="tag{index}" contype="0" conaffinity="0"',
            )
            for index, slot in enumerate(self.slots)
        ]
        return super().furniture_mjcf() + "".join(tags)

    def describe(self, item: str, slot: Slot) -> str:
        return "put the misplaced item back where it belongs"

    def draw_task(self, rng: np.random.Generator) -> None:
        count = len(self.slots)
        candidates = self.candidate_items()
        self.labels = [candidates[index] for index in rng.permutation(len(candidates))[:count]]
        wrong, self.goal, *right = (int(slot) for slot in rng.permutation(count))
        standing = [(self.labels[self.goal], wrong), *((self.labels[slot], slot) for slot in right)]
        order = rng.permutation(ITEMS)
        self.item_names = [standing[index][0] for index in order]
        self._standing_in = [standing[index][1] for index in order]
        self.target = int(np.flatnonzero(order == 0)[0])
        self.instruction = self.describe(self.item_names[self.target], self.slots[self.goal])

    def arrange(self, rng: np.random.Generator) -> None:
        for index, slot_index in enumerate(self._standing_in):
            slot = self.slots[slot_index]
            x, y = slot.x + float(rng.uniform(-0.02, 0.02)), slot.y + float(rng.uniform(-0.03, 0.02))
            self.items.put(index, x, y, slot.floor + 0.001, float(rng.uniform(-0.25, 0.25)))

    def use_slots(self) -> None:
        for index, (slot, label, tag) in enumerate(zip(self.slots, self.labels, self._tags, strict=True)):
            row = ITEMS + index
            self.table.use(row, label, "shelf", named=GOAL if index == self.goal else 0)
            self.table.values[row, POSITION] = slot.x, slot.y, slot.floor
            self.table.values[row, HALF_SIZE] = slot.half_width, slot.half_depth, slot.half_height
            self.model.geom_rgba[tag, :3] = shifted_hue(ITEM_TYPES[label].colour, self.site.hue)


class MisplacedExpert(OpenFrontExpert[MisplacedScene]):
    """Takes the misplaced item out and puts it on the shelf that carries its name."""
