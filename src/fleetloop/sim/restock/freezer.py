"""`restock/freezer`: put the named item in the freezer and close the door; one hand for the door, one for the item."""

from math import cos, sin, tanh

import numpy as np
import numpy.typing as npt

from fleetloop.sim.expert import CLOSE
from fleetloop.sim.hands import LEFT, RIGHT
from fleetloop.sim.items import shifted_hue
from fleetloop.sim.layout import CLOSENESS, HALF_SIZE, HINGE_COS, HINGE_SIN, POSITION, X_AXIS
from fleetloop.sim.restock.furniture import Slot, block, open_front
from fleetloop.sim.restock.open_front import OVER_TRAY, OpenFrontExpert
from fleetloop.sim.restock.scene import ITEMS, RestockScene
from fleetloop.sim.site import SiteParameters

Array = npt.NDArray[np.float64]

TIME_LIMIT = 10.0  # seconds

CENTRE_Y, FLOOR = 0.32, 0.02
HALF_WIDTH, HALF_DEPTH, HALF_HEIGHT = 0.17, 0.10, 0.15
SLOT_X, SLOT_HALF_WIDTH = 0.05, 0.11  # right of the middle, away from the open door
SHELL, DOOR, RED = (0.80, 0.88, 0.95), (0.55, 0.75, 0.90), (0.90, 0.10, 0.10)

HINGE_GAP = 0.02  # metres from the door's plane to the freezer's front: a door pushed past its stop jams on the shell
DOOR_HALF = (0.168, 0.006, 0.14)
HANDLE_RADIUS = 0.29  # metres from the hinge
HANDLE_STANDOFF = 0.05  # metres before the door's plane: room for a pad
HANDLE_HALF_LENGTH = 0.06
HANDLE_THICKNESS = 0.013  # thinner bars get pushed through the pads
DOOR_RANGE = 1.62
CLOSED = 0.12  # radians, and less, count as closed
CLOSENESS_SCALE = 0.08
INITIAL_ANGLE = 0.2
HANDLE_AWAY = 0.06  # metres from hand to handle once it has let go

DOOR_ROW, HANDLE_ROW = ITEMS + 1, ITEMS + 2

OPEN_ANGLE = 1.25  # radians: the item passes the door
PASSABLE = 1.05
SHUT_ANGLE = 0.05  # radians at which the left hand lets go
TURN = 0.2  # radians of the door's arc that the hand aims ahead: it trails its set-point by 4 cm at full speed
APPROACH = 0.09  # metres before the handle where the hand lines up
AT_HANDLE = 0.012
FUNNEL_SLOPE = 5.0
WAITING = (0.22, -0.15)  # outside the door's sweep
CLEAR_Y = 0.10  # a right hand nearer than this has left the freezer


class FreezerScene(RestockScene):
    """A freezer whose door is hinged on the left.

    Entity table, after the items: 3 the freezer's inside, 4 its door, 5 the door's handle.
    """

    spawn_x = (-0.02, 0.23)  # the door swings over the tray's left half
    spawn_y = (-0.31, -0.15)

    def __init__(self, site: SiteParameters) -> None:
        x, y = site.furniture_offset
        self._hinge = (x - HALF_WIDTH, CENTRE_Y + y - HALF_DEPTH - HINGE_GAP)
        self.handle_z = FLOOR + site.furniture_height + HALF_HEIGHT
        super().__init__(site)
        self._door_qpos = int(self.model.joint("door").qposadr[0])
        self.handle_geom = int(self.model.geom("handle").id)

    def make_slots(self, site: SiteParameters) -> tuple[Slot, ...]:
        (x, y), floor = site.furniture_offset, FLOOR + site.furniture_height
        return (Slot(("freezer", ""), x + SLOT_X, CENTRE_Y + y, floor, SLOT_HALF_WIDTH, HALF_DEPTH, HALF_HEIGHT),)

    def furniture_mjcf(self) -> str:
        slot, x = self.slots[0], self.site.furniture_offset[0]
        shell = Slot(slot.words, x, slot.y, slot.floor, HALF_WIDTH, HALF_DEPTH, HALF_HEIGHT)
        for_show = 'mass="0.01" contype="0" conaffinity="0"'
        brackets = [
            block((0.006, 0.02, 0.006), (HANDLE_RADIUS, -0.026, height), RED, for_show)
            for height in (-HANDLE_HALF_LENGTH, HANDLE_HALF_LENGTH)
        ]
        return f"""
        {open_front(shell, shifted_hue(SHELL, self.site.hue), roof=True)}
        <body name="door" pos="{self._hinge[0]} {self._hinge[1]} {self.handle_z}">
          <joint name="door" type="hinge" axis="0 0 -1" range="0 {DOOR_RANGE}" limited="true" solreflimit="0.01 1"
                 damping="0.3" frictionloss="{0.15 * self.site.friction}" armature="0.01"/>
          {block(DOOR_HALF, (HALF_WIDTH, 0, 0), shifted_hue(DOOR, self.site.hue), 'mass="0.5"')}
          <geom name="handle" type="capsule" size="{HANDLE_THICKNESS} {HANDLE_HALF_LENGTH}" mass="0.05"
                pos="{HANDLE_RADIUS} {-HANDLE_STANDOFF} 0" rgba="{RED[0]} {RED[1]} {RED[2]} 1" condim="4" priority="1"
                friction="1.2" solref="0.006 1" solimp="0.97 0.995 0.001"/>
          {"".join(brackets)}
        </body>"""

    def describe(self, item: str, slot: Slot) -> str:
        return f"put the {item} in the freezer and close the door"

    def arrange(self, rng: np.random.Generator) -> None:
        super().arrange(rng)
        self.data.qpos[self._door_qpos] = rng.uniform(0, INITIAL_ANGLE)

    def use_slots(self) -> None:
        super().use_slots()
        self.table.use(DOOR_ROW, "door")
        self.table.use(HANDLE_ROW, "handle")
        self.table.values[DOOR_ROW, HALF_SIZE] = DOOR_HALF
        self.table.values[HANDLE_ROW, HALF_SIZE] = HANDLE_THICKNESS, HANDLE_THICKNESS, HANDLE_HALF_LENGTH

    def write_entities(self) -> None:
        super().write_entities()
        angle = self.door_angle()
        along = cos(angle), -sin(angle), 0.0
        door_x, door_y = self.on_door(angle, HALF_WIDTH, 0.0)
        handle_x, handle_y = self.on_door(angle, HANDLE_RADIUS, HANDLE_STANDOFF)
        values = self.table.values
        values[DOOR_ROW, POSITION] = door_x, door_y, self.handle_z
        values[HANDLE_ROW, POSITION] = handle_x, handle_y, self.handle_z
        for row in (DOOR_ROW, HANDLE_ROW):
            values[row, X_AXIS] = along
            values[row, HINGE_SIN], values[row, HINGE_COS] = sin(angle), cos(angle)
            values[row, CLOSENESS] = tanh(angle / CLOSENESS_SCALE)

    def door_angle(self) -> float:
        """Radians; 0 is closed."""
        return float(self.data.qpos[self._door_qpos])

    def on_door(self, angle: float, along: float, out: float) -> tuple[float, float]:
        """x, y (m) of the point `along` the door from its hinge and `out` before its plane, at this angle."""
        x, y = self._hinge
        return x + along * cos(angle) - out * sin(angle), y - along * sin(angle) - out * cos(angle)

    def goal_reached(self) -> bool:
        return self.door_angle() < CLOSED and super().goal_reached()

    def hands_away(self) -> bool:
        handle = (*self.on_door(self.door_angle(), HANDLE_RADIUS, HANDLE_STANDOFF), self.handle_z)
        offsets = self.hands.pose()[:, :3] - handle
        return bool((np.square(offsets).sum(axis=1) > HANDLE_AWAY**2).all()) and super().hands_away()


class FreezerExpert(OpenFrontExpert[FreezerScene]):
    """Both hands work at once; the item waits outside the door's sweep until the door is open."""

    def look(self) -> None:
        super().look()
        self.angle = self.scene.door_angle()
        self.on_handle = self.scene.grasped(self.scene.handle_geom)[LEFT]

    def decide(self) -> Array:
        if self.ready_to_release():
            may_close = self.pose[RIGHT][1] < CLEAR_Y
            return np.stack([self.turn(0.0 if may_close else OPEN_ANGLE), self.release(RIGHT)])
        return np.stack([self.turn(OPEN_ANGLE), self.bring()])

    def bring(self) -> Array:
        """The right hand's way with the item, or to it."""
        passable = self.angle > PASSABLE
        if not self.held[RIGHT]:
            return self.reach(RIGHT) if passable or self.item[1] < self.gate else self.leave(RIGHT)
        if passable or self.item[1] > self.gate:
            return self.carry(RIGHT)
        x, y, z, _ = self.pose[RIGHT]
        height = OVER_TRAY + z - self.bottom
        if self.bottom < OVER_TRAY - 0.03:
            return self.go(RIGHT, (x, y, height), yaw=0.0, grip=CLOSE)
        return self.go(RIGHT, (*WAITING, height), yaw=0.0, grip=CLOSE)

    def turn(self, goal: float) -> Array:
        """The left hand's way to the handle, and with it towards the angle `goal`."""
        angle, scene = self.angle, self.scene
        if goal == 0.0 and angle < SHUT_ANGLE:
            return self.let_go()
        if self.on_handle:
            ahead = angle + min(max(goal - angle, -TURN), TURN)
            x, y = scene.on_door(ahead, HANDLE_RADIUS, HANDLE_STANDOFF)
            return self.go(LEFT, (x, y, scene.handle_z), yaw=-angle, grip=CLOSE)
        along, out = self.from_handle()
        before = min(max(abs(along) - AT_HANDLE, 0.0) * FUNNEL_SLOPE, APPROACH)
        x, y = scene.on_door(angle, HANDLE_RADIUS, HANDLE_STANDOFF + before)
        if abs(along) < 1.5 * AT_HANDLE and abs(out) < AT_HANDLE:
            return self.go(LEFT, (x, y, scene.handle_z), yaw=-angle, grip=CLOSE)
        return self.travel(LEFT, (x, y, scene.handle_z), yaw=-angle)

    def let_go(self) -> Array:
        """Open, step back from the handle, go home."""
        along, out = self.from_handle()
        if abs(along) > 0.04 or out > APPROACH - 0.02:
            return self.park(LEFT)
        if self.opening[LEFT] < 0.06:
            return self.go(LEFT, self.scene.hands.setpoint[LEFT, :3])
        x, y = self.scene.on_door(self.angle, HANDLE_RADIUS + along, HANDLE_STANDOFF + APPROACH)
        return self.go(LEFT, (x, y, self.pose[LEFT][2]), yaw=-self.angle)

    def from_handle(self) -> tuple[float, float]:
        """Metres from the handle to the left hand, along the door and out from it."""
        x, y = self.scene.on_door(self.angle, HANDLE_RADIUS, HANDLE_STANDOFF)
        dx, dy = self.pose[LEFT][0] - x, self.pose[LEFT][1] - y
        return dx * cos(self.angle) - dy * sin(self.angle), -dx * sin(self.angle) - dy * cos(self.angle)

    def progress(self) -> float:
        return super().progress() + (2.0 - self.angle if self.placed else min(self.angle, OPEN_ANGLE))
