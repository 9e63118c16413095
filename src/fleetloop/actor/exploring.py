"""A policy that strays a little from what it would do, so that there is something to find better than usual."""

import math

import numpy as np

from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.policy import ActingPolicy

KEPT = 0.7  # of an offset from one chunk to the next: a jitter without memory would average out


class Exploring:
    """Adds an offset to every chunk that wanders from chunk to chunk; for one episode.

    Args:
        spread: standard deviation of the offset, in the action's own units, on every axis.
    """

    def __init__(self, policy: ActingPolicy, spread: float) -> None:
        self.spec, self._policy, self._spread = policy.spec, policy, spread
        self._offset: FloatArray | None = None

    def chunk(
        self,
        observation: Observation,
        instruction: str,
        condition: str | None,
        *,
        rng: np.random.Generator,
        prefix: FloatArray | None = None,
        delay: int = 0,
    ) -> FloatArray:
        """As the policy's own, all its actions shifted alike."""
        actions = self._policy.chunk(observation, instruction, condition, rng=rng, prefix=prefix, delay=delay)
        fresh = self._spread * rng.standard_normal(actions.shape[1:], dtype=np.float32)
        before = fresh if self._offset is None else self._offset
        self._offset = np.asarray(KEPT * before + math.sqrt(1 - KEPT**2) * fresh, np.float32)
        return actions + self._offset
