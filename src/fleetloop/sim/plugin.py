"""The simulated robot as a plug-in: its options, and the tasks that it knows."""

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from fleetloop.core.clock import Clock
from fleetloop.core.task import Site, Task
from fleetloop.sim.robot import RESET_S, SimRobot
from fleetloop.sim.scene import STANDARD_NOISE, Disturbance
from fleetloop.sim.tasks import SIM_TASKS


class SimOptions(BaseModel):
    """What a simulated robot shows, and what happens to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    initial_ticks: int = Field(default=14, ge=0, le=100, description="random ticks at most before an episode")
    events: int = Field(default=1, ge=0, le=1, description="items nudged or grippers knocked in an episode")
    noise_m: float = Field(default=STANDARD_NOISE, ge=0, le=0.05, description="actuation noise in metres")
    image_px: int = Field(default=0, ge=0, le=640, description="edge of the camera images in pixels; 0: no cameras")
    reset_s: float = Field(default=RESET_S, ge=0, description="clock seconds that a reset takes")

    @classmethod
    def under(cls, disturbance: Disturbance, *, image_px: int = 0, reset_s: float = RESET_S) -> Self:
        """The options that bring this disturbance about."""
        return cls(
            initial_ticks=disturbance.initial_ticks,
            events=disturbance.events,
            noise_m=disturbance.noise,
            image_px=image_px,
            reset_s=reset_s,
        )

    def disturbance(self) -> Disturbance:
        return Disturbance(self.initial_ticks, self.events, self.noise_m)


class Sim(SimRobot):
    """What the entry point `sim` names."""

    Options: ClassVar[type[SimOptions]] = SimOptions

    def __init__(self, options: SimOptions, *, clock: Clock, site: Site) -> None:
        super().__init__(
            clock,
            site.seed,
            disturbance=options.disturbance(),
            image_px=options.image_px,
            reset_s=options.reset_s,
        )

    @staticmethod
    def tasks(options: SimOptions) -> tuple[Task, ...]:
        """All simulated tasks, whatever the options."""
        return tuple(entry.task for entry in SIM_TASKS.values())
