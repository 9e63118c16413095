"""What is particular at a site: friction, masses, heights, cameras, light, colours, item sets, actuation."""

import colorsys
from dataclasses import dataclass

import numpy as np

from fleetloop.sim.layout import ITEM_NAMES

ITEMS_PER_SITE = 8


@dataclass(frozen=True)
class SiteParameters:
    """The physics and looks of one site. Site 0 is nominal: every factor 1, every offset 0, no delay, all items.

    Lengths are metres, angles radians, `actuation_delay` control ticks, `actuation_noise` the standard deviation of the
    error of a gripper's position (metres; yaw errs by six times as many radians).
    """

    seed: int
    friction: float = 1.0
    mass: float = 1.0
    furniture_height: float = 0.0
    furniture_offset: tuple[float, float] = (0.0, 0.0)
    camera_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    camera_tilt: float = 0.0
    light: float = 1.0
    light_direction: tuple[float, float] = (0.3, 0.5)
    hue: float = 0.0
    item_names: tuple[str, ...] = ITEM_NAMES
    actuation_delay: int = 0
    actuation_noise: float = 0.0

    def rgba(self, red: float, green: float, blue: float) -> str:
        """This colour, 0 to 1 each, turned by the site's hue, as the value of an MJCF `rgba` attribute."""
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        turned = colorsys.hsv_to_rgb((hue + self.hue) % 1.0, saturation, value)
        return " ".join(f"{channel:.3f}" for channel in turned) + " 1"


def site_parameters(seed: int) -> SiteParameters:
    """Draw the site of this seed; seed 0 is the nominal site.

    Raises:
        ValueError: if `seed` is negative.
    """
    if seed < 0:
        raise ValueError(f"site: the seed is {seed}; use 0 for the nominal site or a positive number")
    if seed == 0:
        return SiteParameters(seed=0)
    rng = np.random.default_rng([seed, 0x517E])
    chosen = rng.permutation(len(ITEM_NAMES))[:ITEMS_PER_SITE]
    return SiteParameters(
        seed=seed,
        friction=float(rng.uniform(0.75, 1.25)),
        mass=float(rng.uniform(0.75, 1.3)),
        furniture_height=float(rng.uniform(-0.015, 0.02)),
        furniture_offset=(float(rng.uniform(-0.02, 0.02)), float(rng.uniform(-0.01, 0.02))),
        camera_offset=tuple(float(value) for value in rng.uniform(-0.03, 0.03, 3)),  # type: ignore[arg-type]
        camera_tilt=float(rng.uniform(-0.04, 0.04)),
        light=float(rng.uniform(0.7, 1.25)),
        light_direction=(float(rng.uniform(-0.5, 0.5)), float(rng.uniform(0.1, 0.6))),
        hue=float(rng.uniform(-0.06, 0.06)),
        item_names=tuple(ITEM_NAMES[index] for index in sorted(chosen)),
        actuation_delay=int(rng.integers(0, 2)),
        actuation_noise=float(rng.uniform(0.001, 0.003)),
    )
