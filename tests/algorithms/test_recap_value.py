"""RECAP's arithmetic: returns, bins, advantages, thresholds, indicators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetloop.algorithms.recap_value import (
    TaskScale,
    Track,
    advantages,
    binned,
    centres,
    indicators,
    returns,
    threshold,
)
from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome

SCALE = TaskScale(t_max=8, c_fail=12, horizon=3)


def track(outcome, ticks, sources="p"):
    letters = sources * len(ticks) if len(sources) == 1 else sources
    source = np.array(
        [{"p": Source.POLICY, "h": Source.HUMAN, "-": Source.HOLD}[letter] for letter in letters], np.int8
    )
    return Track("task", outcome, True, 20.0, np.array(ticks, np.int32), source)


def test_a_return_counts_the_ticks_to_success_and_what_a_failure_costs():
    assert returns(track(Outcome.SUCCESS, [0, 1, 2, 4]), SCALE) == pytest.approx([-4 / 20, -3 / 20, -2 / 20, 0])
    assert returns(track(Outcome.FAILURE, [0, 1, 2]), SCALE) == pytest.approx([-14 / 20, -13 / 20, -12 / 20])
    assert np.isnan(returns(track(Outcome.ABORTED, [0, 1]), SCALE)).all()


def test_a_return_never_leaves_its_bins():
    longer_than_ever = track(Outcome.FAILURE, list(range(100)))
    found = returns(longer_than_ever, SCALE)
    assert found.min() == -1
    assert (binned(found, 201) >= 0).all()


@given(st.lists(st.floats(-1, 0, width=32), min_size=1, max_size=20), st.integers(2, 301))
def test_a_bin_stands_for_its_nearest_return(values, bins):
    values = np.array(values, np.float32)
    assert np.abs(centres(bins)[binned(values, bins)] - values).max() <= 0.5 / (bins - 1) + 1e-6


def test_inside_an_episode_an_advantage_looks_n_ticks_ahead():
    values = np.array([-0.9, -0.5, -0.4, -0.3, -0.1], np.float32)
    found = advantages(track(Outcome.SUCCESS, [0, 1, 2, 3, 4]), values, SCALE)
    assert found[0] == pytest.approx(-3 / 20 + values[3] - values[0])
    assert found[1] == pytest.approx(-3 / 20 + values[4] - values[1])


def test_missed_ticks_count():
    values = np.array([-0.9, -0.5, -0.4, -0.3], np.float32)
    found = advantages(track(Outcome.SUCCESS, [0, 5, 6, 20]), values, SCALE)
    assert found[0] == pytest.approx(-5 / 20 + values[1] - values[0])


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.FAILURE])
def test_near_an_ending_the_return_takes_the_place_of_the_value(outcome):
    values = np.full(5, -0.5, np.float32)
    one = track(outcome, [0, 1, 2, 3, 4])
    assert advantages(one, values, SCALE)[2:] == pytest.approx(returns(one, SCALE)[2:] + 0.5)


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.ABORTED])
def test_a_robot_is_not_blamed_for_the_clock(outcome):
    values = np.array([-0.5, -0.5, -0.5, -0.5, -0.5], np.float32)
    found = advantages(track(outcome, [0, 1, 2, 3, 4]), values, SCALE)
    assert found == pytest.approx([-3 / 20, -3 / 20, -2 / 20, -1 / 20, 0])


def test_a_timeout_teaches_the_value_function_what_a_failure_does():
    ticks = [0, 1, 2]
    assert returns(track(Outcome.TIMEOUT, ticks), SCALE) == pytest.approx(returns(track(Outcome.FAILURE, ticks), SCALE))


def test_for_the_policy_a_takeover_is_where_it_failed():
    one = track(Outcome.SUCCESS, list(range(8)), "pphhpphp")
    assert returns(one, SCALE) == pytest.approx(np.array([-14, -13, -5, -4, -14, -13, -1, 0]) / 20)
    values = np.full(8, -0.5, np.float32)
    found = advantages(one, values, SCALE)
    assert found[[0, 1, 4, 5]] == pytest.approx(np.array([-14, -13, -14, -13]) / 20 + 0.5)
    assert found[[2, 3]] == pytest.approx([-3 / 20, -3 / 20])
    assert found[[6, 7]] == pytest.approx([-1 / 20 + 0.5, 0.5])


def test_a_persons_pause_is_no_failure_of_anybodys():
    paused, whole = (track(Outcome.SUCCESS, list(range(8)), sources) for sources in ("hhh-hhhh", "hhhhhhhh"))
    assert returns(paused, SCALE) == pytest.approx(returns(whole, SCALE))


def test_even_where_time_ran_out_a_takeover_is_a_failure_of_its_own():
    one = track(Outcome.TIMEOUT, list(range(5)), "pphpp")
    found = advantages(one, np.full(5, -0.5, np.float32), SCALE)
    assert found == pytest.approx([-14 / 20 + 0.5, -13 / 20 + 0.5, -2 / 20, -1 / 20, 0])


def test_what_made_a_takeover_necessary_is_as_bad_where_the_episode_was_aborted():
    values = np.array([-0.9, -0.9, -0.2, -0.2, -0.2, -0.2], np.float32)
    aborted, timeout = (track(outcome, list(range(6)), "pphhpp") for outcome in (Outcome.ABORTED, Outcome.TIMEOUT))
    assert advantages(aborted, values, SCALE) == pytest.approx(advantages(timeout, values, SCALE))
    assert advantages(aborted, values, SCALE)[:2] == pytest.approx(np.array([-14, -13]) / 20 + 0.9)
    known = returns(aborted, SCALE)
    assert known[:2] == pytest.approx(returns(timeout, SCALE)[:2])
    assert np.isnan(known[2:]).all(), "nobody knows how it would have gone on"


@given(st.lists(st.integers(-10_000, 10_000), min_size=10, max_size=200, unique=True), st.floats(0.05, 0.95))
def test_the_threshold_leaves_the_target_share_above_it(values, positives):
    found = np.array(values) / 10_000  # no closer to one another than an interpolation can tell apart
    assert (found > threshold(found, positives)).mean() == pytest.approx(positives, abs=1 / len(values) + 1e-9)


def test_human_frames_are_positive_whatever_their_advantage():
    scale = TaskScale(8, 12, 3, threshold=10.0)
    one = track(Outcome.FAILURE, list(range(6)), "pphh-p")
    assert indicators(one, np.zeros(6, np.float32), scale).tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("scale", [None, TaskScale(8, 12, 3, missing="failures")])
def test_where_good_can_not_be_told_from_bad_only_people_have_an_indicator(scale):
    one = track(Outcome.SUCCESS, list(range(4)), "phhp")
    assert indicators(one, np.zeros(4, np.float32), scale).tolist() == [-1, 1, 1, -1]
