"""A scene: one task's MuJoCo world with two grippers, its resets, its disturbances and its success rule.

A family subclasses `Scene` and writes its furniture, its reset, its success rule and its part of the entity table.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np
import numpy.typing as npt

from fleetloop.sim.hands import Hands, HandsLayout, hands_mjcf
from fleetloop.sim.layout import HAND_FIELDS, EntityTable
from fleetloop.sim.site import SiteParameters

Array = npt.NDArray[np.float64]

CONTROL_HZ = 20
HELD_TICKS = 3  # success must hold this long
NUDGE_TICKS = (15, 60)  # when the one mid-task disturbance of an episode may come
STANDARD_NOISE = 0.005  # metres; the actuation noise that experts are measured under


@dataclass(frozen=True)
class Disturbance:
    """What a scene does to the robot on request: random initial motion, one nudge or knock, actuation noise (m)."""

    initial_ticks: int = 14
    events: int = 1
    noise: float = STANDARD_NOISE


CALM = Disturbance(initial_ticks=0, events=0, noise=0.0)
DISTURBED = Disturbance()


class Scene(ABC):
    """One world, compiled once and reset many times.

    Attributes:
        instruction: what the robot is told in this episode; chosen by `reset`.
        tick: control ticks since the reset.
        hands: the grippers.
        table: the entities, as policies see them.
    """

    layout: ClassVar[HandsLayout]
    options: ClassVar[str] = '<option timestep="0.005" cone="elliptic" impratio="30" integrator="implicitfast"/>'
    substeps: ClassVar[int] = 10
    home_spread: ClassVar[float] = 0.03
    front_camera: ClassVar[str] = 'pos="0 -1.0 0.75" xyaxes="1 0 0 0 .55 .84" fovy="48"'
    overhead_camera: ClassVar[str] = 'pos="0 0.02 1.35" xyaxes="1 0 0 0 1 0" fovy="45"'

    def __init__(self, site: SiteParameters) -> None:
        self.site = site
        self.model = mujoco.MjModel.from_xml_string(self._mjcf())
        self.data = mujoco.MjData(self.model)
        self.hands = Hands(self.model, self.data, self.layout)
        self.table = EntityTable()
        self.rng = np.random.default_rng(0)
        self.instruction = ""
        self.tick = 0
        self._held_ticks = 0
        self._noise = 0.0
        self._event_tick = -1

    # ------------------------------------------------------------------ what a family writes

    @abstractmethod
    def world_mjcf(self) -> tuple[str, str, str]:
        """The family's (bodies, equalities, top-level extras such as <size/>) as MJCF."""

    @abstractmethod
    def place(self, rng: np.random.Generator) -> None:
        """Lay out the objects in qpos, choose `instruction`, call `table.use` for each entity; may settle physics."""

    @abstractmethod
    def write_entities(self) -> None:
        """Write the moving columns of `table.values`."""

    @abstractmethod
    def goal_reached(self) -> bool:
        """Whether the task is done at this instant, hands open and away (held for 3 ticks it is a success)."""

    @abstractmethod
    def nudge(self, rng: np.random.Generator) -> None:
        """Push an object, as a passer-by would."""

    def before_physics(self, sent: Array) -> None:  # noqa: B027 -- most families have neither
        """Called each tick after the command (2, 5) was sent; grasp welds and latches live here."""

    def holding(self) -> npt.NDArray[np.float32]:
        """(2,): 1 where a gripper holds something; the default judges by the opening while closed."""
        opening = self.hands.opening()
        return ((self.hands.grip > 0) & (opening > 0.012) & (opening < 0.09)).astype(np.float32)

    # ------------------------------------------------------------------ the episode

    def reset(self, seed: int, disturbance: Disturbance = CALM) -> None:
        """Start an episode; the same (site, seed, disturbance) gives the same episode."""
        self.rng = np.random.default_rng([self.site.seed, seed])
        self._noise = float(np.hypot(disturbance.noise, self.site.actuation_noise))
        mujoco.mj_resetData(self.model, self.data)
        self.hands.reset(self.rng, self.home_spread, self.site.actuation_delay)
        self.table.clear()
        # The last episode's event must not fire among this one's initial ticks: they would then depend on history.
        self.tick, self._event_tick = 0, -1
        self.place(self.rng)
        mujoco.mj_forward(self.model, self.data)
        self._held_ticks = 0
        self._disturb_start(disturbance)
        self.tick = 0
        self._event_tick = int(self.rng.integers(*NUDGE_TICKS)) if disturbance.events else -1

    def _disturb_start(self, disturbance: Disturbance) -> None:
        direction = np.clip(self.rng.normal(size=(2, 3)), -1, 1) * 0.03
        for _ in range(int(self.rng.integers(0, disturbance.initial_ticks + 1))):
            action = np.zeros((2, 5))
            action[:, :4] = self.hands.setpoint
            action[:, :3] += direction
            action[:, 4] = -1
            self.step(action)
        self._held_ticks = 0

    def step(self, action: Array) -> Array:
        """Advance one control tick under (2, 5) absolute set-points; returns what was sent after limits."""
        if self.tick == self._event_tick:
            self._event_tick = -1
            self.disturb()
        sent = self.hands.command(action, self.rng, self._noise)
        self.before_physics(sent)
        mujoco.mj_step(self.model, self.data, self.substeps)
        self.tick += 1
        self._held_ticks = self._held_ticks + 1 if self.goal_reached() else 0
        return sent

    def disturb(self) -> None:
        """Nudge an object or knock a gripper."""
        if self.rng.random() < 0.5:
            self.nudge(self.rng)
        else:
            self.hands.knock(self.rng)

    def success(self) -> bool:
        """Whether the goal has been reached for the last 3 ticks."""
        return self._held_ticks >= HELD_TICKS

    def observe_hands(self) -> npt.NDArray[np.float32]:
        """(2, 8) as `layout` documents."""
        hands = np.empty((2, HAND_FIELDS), np.float32)
        pose = self.hands.pose()
        hands[:, :3] = pose[:, :3]
        hands[:, 3] = np.sin(pose[:, 3])
        hands[:, 4] = np.cos(pose[:, 3])
        hands[:, 5] = self.hands.opening()
        hands[:, 6] = self.hands.grip
        hands[:, 7] = self.holding()
        return hands

    # ------------------------------------------------------------------ MJCF

    def _mjcf(self) -> str:
        hands, actuators = hands_mjcf(self.layout)
        world, equalities, extras = self.world_mjcf()
        x, y = self.site.light_direction
        brightness = 0.38 * self.site.light
        return f"""
        <mujoco><compiler angle="radian"/>{self.options}{extras}
          <statistic extent="1" center="0 0 .15"/>
          <visual><global offwidth="640" offheight="640"/><quality offsamples="0" shadowsize="0"/>
            <headlight ambient="{brightness} {brightness} {brightness}" diffuse=".22 .22 .22" specular="0 0 0"/>
            <map znear="0.02" zfar="6"/></visual>
          <worldbody>
            <light directional="true" pos="0 -.6 2" dir="{x} {y} -1" diffuse="{brightness} {brightness} {brightness}"
                   specular="0 0 0" castshadow="false"/>
            {self._cameras()}
            <geom name="table" type="plane" conaffinity="7" size=".8 .8 .05" rgba=".72 .66 .58 1" friction="1"/>
            {hands}{world}
          </worldbody>
          <actuator>{actuators}</actuator><equality>{equalities}</equality>
        </mujoco>"""

    def _cameras(self) -> str:
        """`front` is for people; policies see `overhead` and the two wrists. Site offsets move the overhead one."""
        x, y, z = self.site.camera_offset
        tilt = self.site.camera_tilt
        return f"""
        <camera name="front" {self.front_camera}/>
        <body pos="{x} {y} {z}" euler="{tilt} 0 0"><camera name="overhead" {self.overhead_camera}/></body>"""
