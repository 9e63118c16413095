"""What is said of an arm: intervals hold their figure, pairing helps, and a target is crossed where it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fleetloop.lab import statistics

VALUES = arrays(float, (3, 2, 6), elements=st.sampled_from([0.0, 1.0]))


@given(VALUES)
@settings(max_examples=25)
def test_the_interval_holds_the_mean(values):
    found = statistics.mean(values)
    assert found.low - 1e-9 <= values.mean() <= found.high + 1e-9
    assert found.value == values.mean()


def test_pairing_sees_what_two_intervals_hide():
    rng = np.random.default_rng(0)
    control = (rng.random((3, 2, 50)) < 0.5).astype(float)
    arm = control.copy()
    arm[:, :, :4] = 1  # four resets that the control may fail
    control[:, :, :4] = 0
    paired = statistics.mean(arm - control)
    assert paired.value == pytest.approx(0.08)
    assert paired.low > 0
    assert statistics.mean(arm).low < statistics.mean(control).high


def test_a_seed_more_or_less_is_felt():
    values = np.stack([np.zeros((2, 50)), np.ones((2, 50))])
    assert statistics.mean(values).low == 0
    assert statistics.mean(values).high == 1


def test_successes_per_hour_of_driving():
    won, ticks = np.array([[[1.0, 0.0]]]), np.array([[[100.0, 300.0]]])
    assert statistics.per_hour(won, ticks, 20.0).value == pytest.approx(1 / (400 / 20 / 3600))


def test_the_gap_is_closed_from_the_base_to_the_expert():
    base, expert = np.zeros((1, 1, 10)), np.ones((1, 1, 10))
    half = base.copy()
    half[0, 0, :5] = 1
    found = statistics.gap_closed(base, half, expert)
    assert found is not None
    assert found.value == 0.5
    assert statistics.gap_closed(expert, half, expert) is None


def test_a_target_is_crossed_between_two_points():
    minutes, rates = [1.0, 2.0, 3.0, 4.0], [0.0, 0.4, 0.8, 1.0]
    assert statistics.crossing(minutes, rates, 0.6, 1) == pytest.approx(2.5)
    assert statistics.crossing(minutes, rates, 0.6, 2) == pytest.approx(3.0)
    assert statistics.crossing(minutes, rates, 0.95, 2) is None
    assert statistics.crossing(minutes, rates, 0.0, 1) == 1.0
    assert statistics.crossing([1.0], [1.0], 0.5, 3) is None
