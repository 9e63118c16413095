"""MJCF of the furniture that the restock scenes stand items in, and the slots in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from fleetloop.sim.items import Colour

THICKNESS = 0.008
TRAY_CENTRE_Y = -0.21
TRAY_HALF = (0.27, 0.15)
TRAY_BACK = TRAY_CENTRE_Y + TRAY_HALF[1]
TRAY_COLOUR = (0.40, 0.40, 0.42)


@dataclass(frozen=True)
class Slot:
    """A place for one item: the centre of its floor and its half extents, in metres; `words` name it."""

    words: tuple[str, str]
    x: float
    y: float
    floor: float
    half_width: float
    half_depth: float
    half_height: float


def block(half: Sequence[float], at: Sequence[float], colour: Colour, extra: str = "") -> str:
    """A box geom."""
    return (
        f'<geom type="box" size="{half[0]} {half[1]} {half[2]}" pos="{at[0]} {at[1]} {at[2]}" '
        f'rgba="{colour[0]} {colour[1]} {colour[2]} 1" {extra}/>'
    )


def open_front(slot: Slot, colour: Colour, *, roof: bool) -> str:
    """Floor, back, two sides and perhaps a roof around a slot that is open towards -y."""
    half_board = THICKNESS / 2
    middle = slot.floor + slot.half_height
    plate = (slot.half_width, slot.half_depth, half_board)
    side = (half_board, slot.half_depth, slot.half_height)
    boards = [
        block(plate, (slot.x, slot.y, slot.floor - half_board), colour),
        block(side, (slot.x - slot.half_width, slot.y, middle), colour),
        block(side, (slot.x + slot.half_width, slot.y, middle), colour),
        block((slot.half_width, half_board, slot.half_height), (slot.x, slot.y + slot.half_depth, middle), colour),
    ]
    if roof:
        boards.append(block(plate, (slot.x, slot.y, slot.floor + 2 * slot.half_height + half_board), colour))
    return "".join(boards)


def tray() -> str:
    """Four low rims on the table, in front of the robot."""
    half_x, half_y = TRAY_HALF
    rims = [
        block((half_x, 0.005, 0.01), (0, TRAY_CENTRE_Y - half_y, 0.01), TRAY_COLOUR),
        block((half_x, 0.005, 0.01), (0, TRAY_CENTRE_Y + half_y, 0.01), TRAY_COLOUR),
        block((0.005, half_y, 0.01), (-half_x, TRAY_CENTRE_Y, 0.01), TRAY_COLOUR),
        block((0.005, half_y, 0.01), (half_x, TRAY_CENTRE_Y, 0.01), TRAY_COLOUR),
    ]
    return "".join(rims)
