"""Two Cartesian grippers on position servos: their MJCF, their set-points, their limits.

An action is (2, 5) absolute set-points: x, y, z (m, world), yaw (rad), grip (> 0 closes). A gripper holds by friction
alone: two pads on servo slides. Settings follow a trial of 20 variants (docs/reference/simulation.md).
"""

from collections import deque
from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEFT, RIGHT = 0, 1
STEP = 0.03  # metres that a set-point may move in one tick: 0.6 m/s at 20 Hz
YAW_STEP = 0.15  # radians in one tick
LEASH = 0.04  # metres between set-point and measured pose: a blocked hand pushes with bounded force
YAW_LEASH = 0.3
YAW_LIMIT = 1.7
CLOSED = -0.02  # finger set-point beyond contact, so that the servo keeps squeezing
NOISE_MEMORY = 0.7  # actuation noise is AR(1): successive errors are alike, as a sagging arm's are
YAW_NOISE_PER_METRE = 6.0
FORCE = 30.0


@dataclass(frozen=True)
class HandsLayout:
    """How a family uses the grippers. `home`, `low`, `high` in metres; `opening` is one finger's travel in metres."""

    home: tuple[tuple[float, float, float], tuple[float, float, float]]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    opening: float = 0.05
    pad_collision: str = ""  # extra MJCF attributes of the pads, e.g. 'contype="2" conaffinity="0"'


def hands_mjcf(layout: HandsLayout) -> tuple[str, str]:
    """The grippers' (bodies, actuators) as MJCF."""
    bodies, actuators = "", ""
    for prefix, home in zip("LR", layout.home, strict=True):
        bodies += _hand_body(prefix, home, layout)
        for joint, kp, kv in (("x", 2000, 120), ("y", 2000, 120), ("z", 2000, 120), ("w", 20, 1)):
            actuators += (
                f'<position name="{prefix}{joint}" joint="{prefix}{joint}" kp="{kp}" kv="{kv}" '
                f'forcerange="{-FORCE} {FORCE}"/>'
            )
        for finger in "lr":
            actuators += (
                f'<position name="{prefix}{finger}" joint="{prefix}{finger}" kp="600" kv="20" '
                f'forcerange="{-FORCE} {FORCE}"/>'
            )
    return bodies, actuators


def _hand_body(prefix: str, home: tuple[float, float, float], layout: HandsLayout) -> str:
    shaft = 'rgba=".25 .25 .28 1" contype="0" conaffinity="0"'
    pad = 'condim="4" friction="1.2 0.03 0.001" solref="0.01 1" solimp="0.95 0.99 0.001"'
    fingers = ""
    for finger, sign in (("l", 1), ("r", -1)):
        # 16 mm thick pads: thinner ones are pushed through a handle by a 30 N hand.
        fingers += f"""
        <body name="{prefix}{finger}" gravcomp="1">
          <joint name="{prefix}{finger}" type="slide" axis="{sign} 0 0" range="0 {max(layout.opening, 1e-3)}"
                 limited="true" armature="0.05" damping="2"/>
          <geom name="{prefix}{finger}pad" type="box" size="0.008 0.018 0.02" pos="{sign * 0.0085} 0 0.01" mass="0.05"
                rgba=".95 .55 .1 1" {pad} {layout.pad_collision}/>
          <geom type="box" size="0.004 0.008 0.03" pos="{sign * 0.006} 0 0.05" mass="0.01" {shaft}/>
        </body>"""
    return f"""
    <body name="{prefix}" pos="{home[0]} {home[1]} {home[2]}" gravcomp="1">
      <joint name="{prefix}x" type="slide" axis="1 0 0"/><joint name="{prefix}y" type="slide" axis="0 1 0"/>
      <joint name="{prefix}z" type="slide" axis="0 0 1"/>
      <joint name="{prefix}w" type="hinge" axis="0 0 1" armature="0.01"/>
      <geom type="box" size="0.06 0.018 0.012" pos="0 0 0.092" mass="0.5" {shaft}/>
      <camera name="wrist_{prefix}" pos="0 -0.075 0.09" xyaxes="1 0 0 0 .8 .6" fovy="72"/>
      {fingers}
    </body>"""


class Hands:
    """The grippers of one running scene."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, layout: HandsLayout) -> None:
        self.model, self.data, self.layout = model, data, layout
        self.home = np.array(layout.home)
        self._low, self._high = np.array(layout.low), np.array(layout.high)
        joints = [[prefix + joint for joint in "xyzwlr"] for prefix in "LR"]
        self.qpos = np.array([[model.joint(name).qposadr[0] for name in row] for row in joints])
        self.qvel = np.array([[model.joint(name).dofadr[0] for name in row] for row in joints])
        self._ctrl = np.array([[model.actuator(name).id for name in row] for row in joints])
        self.pads = np.array([[model.geom(f"{prefix}{finger}pad").id for finger in "lr"] for prefix in "LR"])
        self.bodies = np.array([model.body(prefix).id for prefix in "LR"])
        self.setpoint = np.zeros((2, 4))
        self.grip = np.full(2, -1.0)
        self._error = np.zeros((2, 4))
        self._pending: deque[tuple[Array, Array]] = deque()

    def reset(self, rng: np.random.Generator, spread: float, delay: int) -> None:
        """Put the grippers at home, up to `spread` metres off; commands take `delay` ticks to arrive."""
        self.setpoint[:, :3] = self.home + rng.uniform(-spread, spread, (2, 3))
        self.setpoint[:, 3] = 0
        self.grip[:] = -1
        self._error[:] = 0
        self.data.qpos[self.qpos[:, :3]] = self.setpoint[:, :3] - self.home
        self.data.qpos[self.qpos[:, 3]] = 0
        self.data.qpos[self.qpos[:, 4:]] = self.layout.opening
        self._pending = deque([(self.setpoint.copy(), self.grip.copy())] * delay)
        self._apply(self.setpoint, self.grip)

    def command(self, action: Array, rng: np.random.Generator, noise: float) -> Array:
        """Take (2, 5) absolute set-points; returns what was sent after rate limit, leash and workspace.

        `noise` (m) errs behind the command: like a real arm's error it is not part of what was sent.
        """
        pose = self.pose()
        step = np.clip(action[:, :3] - self.setpoint[:, :3], -STEP, STEP)
        position = np.clip(self.setpoint[:, :3] + step, pose[:, :3] - LEASH, pose[:, :3] + LEASH)
        self.setpoint[:, :3] = np.clip(position, self._low, self._high)
        turn = np.clip(action[:, 3] - self.setpoint[:, 3], -YAW_STEP, YAW_STEP)
        yaw = np.clip(self.setpoint[:, 3] + turn, pose[:, 3] - YAW_LEASH, pose[:, 3] + YAW_LEASH)
        self.setpoint[:, 3] = np.clip(yaw, -YAW_LIMIT, YAW_LIMIT)
        self.grip = np.where(action[:, 4] > 0, 1.0, -1.0)
        self._pending.append((self.setpoint.copy(), self.grip.copy()))
        target, grip = self._pending.popleft()
        if noise > 0:
            fresh = rng.normal(size=(2, 4)) * (noise * np.sqrt(1 - NOISE_MEMORY**2))
            fresh[:, 3] *= YAW_NOISE_PER_METRE
            self._error = NOISE_MEMORY * self._error + fresh
            target = target + self._error
        self._apply(target, grip)
        return np.concatenate([self.setpoint, self.grip[:, None]], axis=1)

    def _apply(self, target: Array, grip: Array) -> None:
        ctrl = self.data.ctrl
        ctrl[self._ctrl[:, :3]] = target[:, :3] - self.home
        ctrl[self._ctrl[:, 3]] = target[:, 3]
        ctrl[self._ctrl[:, 4:]] = np.where(grip < 0, self.layout.opening, CLOSED)[:, None]

    def pose(self) -> Array:
        """(2, 4): measured x, y, z (m) and yaw (rad)."""
        pose: Array = self.data.qpos[self.qpos[:, :4]]
        pose[:, :3] += self.home
        return pose

    def opening(self) -> Array:
        """(2,): the gap between the pads in metres."""
        gap: Array = self.data.qpos[self.qpos[:, 4]] + self.data.qpos[self.qpos[:, 5]]
        return gap

    def touching(self, geoms: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
        """(2, 2) [hand, pad]: whether the pad touches any of the geoms."""
        pairs = self.data.contact.geom
        if len(pairs) == 0:
            return np.zeros((2, 2), bool)
        touched = pairs[np.isin(pairs, geoms).any(axis=1)]
        return np.isin(self.pads, touched)

    def holding(self, geoms: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
        """(2,): whether both pads of a hand touch the geoms."""
        first_pad, second_pad = self.touching(geoms).T
        held: npt.NDArray[np.bool_] = first_pad & second_pad
        return held

    def knock(self, rng: np.random.Generator) -> int:
        """Hit one gripper: a sudden velocity and a shifted set-point. Returns which."""
        hand = int(rng.integers(2))
        self.data.qvel[self.qvel[hand, :3]] += rng.uniform(-1.5, 1.5, 3)
        self.setpoint[hand, :3] += rng.uniform(-0.04, 0.04, 3)
        return hand
