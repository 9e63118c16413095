"""How many optimizer steps are due: a budget per clock second, so that learning keeps its proportion to the fleet."""

ROUNDING = 1e-6  # steps; else a sum of small floats could ask to be called again at the very same instant


class Pace:
    """A budget of steps that grows with the clock.

    Args:
        steps_per_s: per clock second; None for no limit.
        most_debt_s: clock seconds of steps that may pile up, one step at least; what goes beyond is lost and counted.

    Attributes:
        lost: steps that were due and never taken.
    """

    def __init__(self, steps_per_s: float | None, most_debt_s: float, start: float) -> None:
        self.lost = 0.0
        self._rate, self._most, self._last = steps_per_s, most_debt_s, start
        self._due = 0.0

    @property
    def due(self) -> bool:
        return self._rate is None or self._due >= 1 - ROUNDING

    @property
    def lag_s(self) -> float:
        """Clock seconds that the learner is behind its budget."""
        return 0.0 if self._rate is None else max(0.0, self._due - 1) / self._rate

    def advance(self, now: float, idle: bool) -> None:
        """Let time pass; no budget grows while the learner is idle."""
        elapsed, self._last = now - self._last, now
        if self._rate is None:
            return
        self._due = 0.0 if idle else self._due + elapsed * self._rate
        excess = max(0.0, self._due - max(1.0, self._most * self._rate))  # below 1 no step would ever be due
        self.lost += excess
        self._due -= excess

    def spend(self) -> None:
        """One step was taken."""
        self._due -= 1

    def next_at(self, now: float) -> float:
        """Clock seconds at which the next step is due."""
        return now if self._rate is None else now + max(0.0, 1 - self._due) / self._rate
