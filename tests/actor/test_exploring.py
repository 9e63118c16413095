"""A policy that strays."""

import numpy as np

from fleetloop.actor.exploring import Exploring
from fleetloop.core.frame import Observation
from fleetloop.core.spec import FeatureSpec, PolicySpec

SPEC = PolicySpec((FeatureSpec("x", (1,)),), FeatureSpec("action", (3,)), 4, 2, 20.0)


class Still:
    spec = SPEC

    def chunk(self, observation, instruction, condition, *, rng, prefix=None, delay=0):
        return np.zeros((4, 3), np.float32)


def offsets(seed: int, chunks: int, spread: float = 0.5) -> np.ndarray:
    policy, rng = Exploring(Still(), spread), np.random.default_rng(seed)
    nothing = Observation({}, 0.0)
    return np.array([policy.chunk(nothing, "", None, rng=rng) for _ in range(chunks)])


def test_a_chunk_is_shifted_as_a_whole_and_every_axis_on_its_own():
    shifted = offsets(1, 5)
    assert np.array_equal(shifted[:, 0], shifted[:, 3])
    assert len(np.unique(shifted[0, 0])) == 3


def test_it_wanders_from_chunk_to_chunk_with_the_spread_that_was_asked_for():
    shifted = offsets(2, 4000)[:, 0]
    assert np.allclose(shifted.std(axis=0), 0.5, atol=0.06)
    assert np.corrcoef(shifted[:-1, 0], shifted[1:, 0])[0, 1] > 0.5


def test_the_same_seed_strays_the_same_way():
    assert np.array_equal(offsets(3, 20), offsets(3, 20))
    assert not np.array_equal(offsets(3, 20), offsets(4, 20))
