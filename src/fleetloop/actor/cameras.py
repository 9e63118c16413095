"""Whether a robot's cameras go on showing something new."""

from collections.abc import Sequence

from fleetloop.core.alarm import Alarms
from fleetloop.core.frame import Observation

PART = "cameras"


class Cameras:
    """Told at every tick what was observed; raises an alarm while a camera's image is old, or always the same one."""

    def __init__(self, names: Sequence[str], frozen_s: float, alarms: Alarms) -> None:
        self._names, self._frozen_s, self._alarms = names, frozen_s, alarms
        self._taken: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def note(self, observation: Observation, now: float) -> None:
        """`now`: clock seconds."""
        frozen = [name for name in self._names if self._age(name, observation, now) > self._frozen_s]
        if frozen:
            self._alarms.set(
                PART, f"no new image of {', '.join(frozen)} for {self._frozen_s:g} s, by its `images_taken`"
            )
        elif self._names:
            self._alarms.clear(PART)

    def _age(self, name: str, observation: Observation, now: float) -> float:
        """Seconds since its image was taken, or was first seen, for a robot may tell the time by another clock."""
        taken = observation.images_taken.get(name, now)
        if taken != self._taken.get(name):
            self._taken[name], self._since[name] = taken, now
        return now - min(taken, self._since[name])
