"""How long to wait before trying again."""

import numpy as np

from fleetloop.courier.options import CourierOptions


class Backoff:
    """Doubling pauses with jitter, so that a fleet does not come back to a restarted hub all at once."""

    def __init__(self, options: CourierOptions, rng: np.random.Generator) -> None:
        self._first_s, self._longest_s, self._rng = options.retry_first_wall_s, options.retry_longest_wall_s, rng
        self._failures = 0

    def failed(self) -> float:
        """Real seconds until the next try: half to all of a pause that doubles with each failure in a row."""
        # 2.0**1000 still is a float; the pause stopped growing long before.
        pause = min(self._first_s * 2.0 ** min(self._failures, 1000), self._longest_s)
        self._failures += 1
        return float(pause * self._rng.uniform(0.5, 1.0))

    def succeeded(self) -> None:
        self._failures = 0
