"""How fast the fleet's clock runs: as fast as the machine keeps up with, the same for robots and learner."""

from dataclasses import dataclass

CAP = 12.0
LEAST = 1.0


@dataclass(frozen=True)
class Reading:
    """How well the machine kept up since the last reading.

    Attributes:
        wall_s: when it was read, real seconds.
        lag_s: clock seconds that the learner is behind.
        missed_share: ticks missed per tick due, over all robots.
    """

    wall_s: float
    lag_s: float
    missed_share: float


class Pacer:
    """Slows down at once when somebody is late, speeds up slowly when nobody has been for some time.

    Attributes:
        factor: clock seconds per real second.
    """

    strained_lag_s, strained_missed = 1.0, 0.02
    hopeless_lag_s, hopeless_missed = 4.0, 0.10
    easy_lag_s, easy_missed = 0.5, 0.005
    slower, much_slower, faster = 0.9, 0.7, 1.05
    slower_pause_s, faster_pause_s = 1.0, 4.0  # real seconds for a change to show before the next

    def __init__(self, factor: float, wall_s: float) -> None:
        self.factor = factor
        self._cap = max(CAP, factor)
        self._changed_s = self._strained_s = wall_s

    def advise(self, reading: Reading) -> float:
        """The factor from now on."""
        strained = reading.lag_s > self.strained_lag_s or reading.missed_share > self.strained_missed
        easy = reading.lag_s < self.easy_lag_s and reading.missed_share < self.easy_missed
        if not easy:
            self._strained_s = reading.wall_s
        if strained and reading.wall_s - self._changed_s >= self.slower_pause_s:
            hopeless = reading.lag_s > self.hopeless_lag_s or reading.missed_share > self.hopeless_missed
            self._change(self.factor * (self.much_slower if hopeless else self.slower), reading.wall_s)
        elif easy and reading.wall_s - max(self._strained_s, self._changed_s) >= self.faster_pause_s:
            self._change(self.factor * self.faster, reading.wall_s)
        return self.factor

    def _change(self, factor: float, wall_s: float) -> None:
        self.factor = min(max(factor, LEAST), self._cap)
        self._changed_s = wall_s
