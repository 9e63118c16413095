"""What is said of an arm: intervals hold their figure, pairing helps, and a target is crossed where it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fleetloop.lab import statistics
from fleetloop.lab.results import ArmResults
from fleetloop.lab.speed import WINDOW, Curve, speed_up
from fleetloop.lab.tables import NOTHING

VALUES = arrays(float, (3, 2, 6), elements=st.sampled_from([0.0, 1.0]))


@given(VALUES)
@settings(max_examples=25)
def test_the_interval_holds_the_rate(values):
    for seeds in (values, values[:1]):
        found = statistics.rate(seeds)
        assert found.low - 1e-9 <= seeds.mean() <= found.high + 1e-9
        assert found.low < found.high
        assert found.value == seeds.mean()


@given(VALUES, VALUES)
@settings(max_examples=25)
def test_the_interval_holds_the_difference(one, other):
    for seeds in (3, 1):
        found = statistics.paired(one[:seeds], other[:seeds])
        value = (one[:seeds] - other[:seeds]).mean()
        assert found.low - 1e-9 <= value <= found.high + 1e-9
        assert found.value == value


def test_where_no_pair_differs_the_difference_is_not_known_for_sure():
    same = np.ones((3, 1, 50))
    for seeds in (same, same[:1]):
        found = statistics.paired(seeds, seeds)
        assert found.value == 0
        assert found.low == pytest.approx(-0.071, abs=1e-3)
        assert found.high == pytest.approx(0.071, abs=1e-3)


def test_pairing_sees_what_two_intervals_hide():
    rng = np.random.default_rng(0)
    control = (rng.random((3, 2, 50)) < 0.5).astype(float)
    arm = control.copy()
    arm[:, :, :4] = 1  # four resets that the control may fail
    control[:, :, :4] = 0
    for seeds in (3, 1):
        paired = statistics.paired(arm[:seeds], control[:seeds])
        assert paired.value == pytest.approx(0.08)
        assert paired.low > 0
        assert statistics.rate(arm[:seeds]).low < statistics.rate(control[:seeds]).high


def test_a_seed_more_or_less_is_felt():
    values = np.stack([np.zeros((2, 50)), np.ones((2, 50))])
    assert statistics.rate(values).low == 0
    assert statistics.rate(values).high == 1


def test_successes_per_hour_of_driving():
    won, ticks = np.array([[[1.0, 0.0]]]), np.array([[[100.0, 300.0]]])
    assert statistics.per_hour(won, ticks, 20.0).value == pytest.approx(1 / (400 / 20 / 3600))
    assert statistics.per_hour(0 * won, ticks, 20.0).rounded() == "0"


def test_the_gap_is_closed_from_the_base_to_the_expert():
    base, expert = np.zeros((1, 1, 10)), np.ones((1, 1, 10))
    barely = np.eye(10)[:1, None]
    half = base.copy()
    half[0, 0, :5] = 1
    found = statistics.gap_closed(base, half, expert)
    assert found is not None
    assert found.value == 0.5
    assert statistics.gap_closed(expert, half, expert) is None
    assert statistics.gap_closed(base, half, barely) is None, "that the expert is better is not sure"


def test_a_target_is_crossed_between_two_points():
    minutes, rates = [1.0, 2.0, 3.0, 4.0], [0.0, 0.4, 0.8, 1.0]
    assert statistics.crossing(minutes, rates, 0.6, 1) == pytest.approx(2.5)
    assert statistics.crossing(minutes, rates, 0.6, 2) == pytest.approx(3.0)
    assert statistics.crossing(minutes, rates, 0.95, 2) is None
    assert statistics.crossing(minutes, rates, 0.0, 1) == 1.0
    assert statistics.crossing([1.0], [1.0], 0.5, 3) is None


def test_what_rounds_took_is_added_up():
    fleets = [{"robots": 2, "episodes": 7, "intervention_minutes": minutes} for minutes in (3.0, 1.5)]
    arm = ArmResults("offline", {0: {"rounds": fleets, "steps": 10}})
    figures = {name: arm.fleet(name) for name in ("robots", "episodes", "intervention_minutes", "steps", "releases")}
    assert figures == {"robots": 2, "episodes": 14, "intervention_minutes": 4.5, "steps": 20, "releases": None}


def test_a_speed_up_compares_the_seeds_that_both_have():
    def reaching(minute: float) -> Curve:
        minutes = [float(number) for number in range(1, 61)]
        return Curve(minutes, [float(now > minute - WINDOW) for now in minutes])

    alone = {0: reaching(20), 1: reaching(30)}
    paired = speed_up(alone, {0: reaching(10), 1: reaching(15)})
    whole, by_seed = paired.split(" ", 1)
    assert 1.8 < float(whole.rstrip("x")) < 2.2
    assert [1.8 < float(one) < 2.2 for one in by_seed.strip("()").split(", ")] == [True, True]
    assert speed_up(alone, {0: reaching(10), 1: reaching(15), 2: reaching(3)}) == paired
    assert speed_up(alone, {2: reaching(3)}) == NOTHING


def test_success_at_equal_data_is_read_where_the_data_is_equal():
    curve = Curve([1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 0.2, 0.4, 0.6, 0.8])
    assert curve.at(2.5) == pytest.approx(0.3)
    assert curve.at(3.0) == pytest.approx(0.4)
    assert curve.at(5.0) == pytest.approx((0.6 + 0.8 + 0.8) / 3)
    assert curve.at(5.5) is None
