"""What was forgotten: pairs, and an interval that covers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetloop.lab.evaluation import Tried
from fleetloop.lab.retention import by_task, retained, tango


def tried(successes: str, task: str = "a") -> list[Tried]:
    """One episode per letter: `x` succeeded."""
    return [Tried(task, 1, number, "", letter == "x", 50, 0.1) for number, letter in enumerate(successes)]


def score(lost, gained, pairs, difference):
    """Tango's statistic by its definition; the constrained estimate is found by trying them all."""
    chances = np.linspace(1e-7, (1 - difference) / 2 - 1e-7, 2_000_000)
    chances = chances[chances + difference > 0]
    agree = pairs - lost - gained
    likelihood = (
        lost * np.log(chances + difference) + gained * np.log(chances) + agree * np.log(1 - 2 * chances - difference)
    )
    chance = chances[likelihood.argmax()]
    return (lost - gained - pairs * difference) / np.sqrt(pairs * (2 * chance + difference * (1 - difference)))


@pytest.mark.parametrize("counts", [(12, 2, 50), (9, 7, 400), (3, 30, 120)])
def test_at_its_bounds_the_score_is_that_of_95_percent(counts):
    low, high = tango(*counts)
    assert score(*counts, low) == pytest.approx(1.96, abs=1e-3)
    assert score(*counts, high) == pytest.approx(-1.96, abs=1e-3)


@given(st.integers(1, 600).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))))
def test_the_interval_holds_the_estimate_and_turns_with_the_sides(drawn):
    pairs, lost, gained = drawn
    gained = min(gained, pairs - lost)
    low, high = tango(lost, gained, pairs)
    assert -1 <= low <= (lost - gained) / pairs <= high <= 1
    mirrored = tango(gained, lost, pairs)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_where_nothing_differs_the_bound_is_that_of_the_score():
    z2 = 1.959964**2
    assert tango(0, 0, 400)[1] == pytest.approx(z2 / (400 + z2))


@pytest.mark.parametrize("chances", [(0.03, 0.02), (0.1, 0.1), (0.01, 0.0)])
def test_it_covers_the_truth_as_often_as_it_says(chances):
    rng, pairs = np.random.default_rng(0), 200
    draws = rng.multinomial(pairs, [*chances, 1 - sum(chances)], size=400)
    bounds = [tango(int(lost), int(gained), pairs) for lost, gained, _ in draws]
    truth = chances[0] - chances[1]
    assert np.mean([low <= truth <= high for low, high in bounds]) > 0.92


def test_pairs_are_counted_by_task_and_together():
    base = tried("xxxx.", "a") + tried("..", "b")
    release = tried("x..xx", "a") + tried("x.", "b")
    of_a, of_b = by_task(base, release).values()
    assert (of_a.episodes, of_a.lost, of_a.gained, of_a.loss) == (5, 2, 1, pytest.approx(0.2))
    assert (of_b.lost, of_b.gained, of_b.base, of_b.release) == (0, 1, 0.0, 0.5)
    together = retained(base, release)
    assert (together.episodes, together.lost, together.gained) == (7, 2, 2)


def test_other_resets_are_no_pairs():
    with pytest.raises(ValueError, match="same resets"):
        retained(tried("xx"), list(reversed(tried("xx"))))
