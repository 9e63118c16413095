"""What the reports say of their brackets: how often they hold the truth, in experiments whose truth is known."""

import math

import numpy as np
import pytest

from fleetloop.lab import statistics

EXPERIMENTS, TASKS, RESETS = 300, 3, 50
BETTER, OF_SEEDS, OF_RESETS, OF_EPISODES = 0.5, 0.15, 0.7, 0.7  # probits: a seed's average has a spread of .04, as ours
TRUTH = 0.5 * (1 + math.erf(BETTER / math.hypot(OF_SEEDS, OF_RESETS, OF_EPISODES) / math.sqrt(2)))


def arm(rng: np.random.Generator, seeds: int, resets: statistics.Values) -> statistics.Values:
    """Successes of one arm: some seeds are luckier than others, some resets harder."""
    lucky = rng.normal(0, OF_SEEDS, (seeds, 1, 1))
    chance = rng.normal(0, OF_EPISODES, (seeds, TASKS, RESETS))
    return (BETTER + resets + lucky + chance > 0).astype(float)


@pytest.mark.parametrize(("seeds", "least", "most"), [(1, 0.0, 0.80), (2, 0.92, 1.0), (3, 0.94, 1.0), (5, 0.94, 1.0)])
def test_intervals_hold_the_truth_as_often_as_the_pages_say(monkeypatch, seeds, least, most):
    monkeypatch.setattr(statistics, "DRAWS", 400)
    rng = np.random.default_rng(0)
    held = equal = 0
    for _ in range(EXPERIMENTS):
        resets = rng.normal(0, OF_RESETS, (1, TASKS, RESETS))
        one, other = (arm(rng, seeds, resets) for _ in range(2))
        rate, difference = statistics.rate(one), statistics.paired(one, other)
        held += rate.low <= TRUTH <= rate.high
        equal += difference.low <= 0 <= difference.high
    assert least <= held / EXPERIMENTS <= most
    assert least <= equal / EXPERIMENTS <= most
