"""A candidate on its canary: the sequential test that it passes or fails, and what ends it early."""

import numpy as np
import pytest
from promoting import promoting

from fleetloop.core.clock import Virtual
from fleetloop.core.hub import STABLE, RobotStatus
from fleetloop.core.outcome import Outcome
from fleetloop.hub.options import CanaryOptions
from fleetloop.hub.releases.sequential import SequentialTest

CANARY = CanaryOptions(robots=1, baseline=8, episodes=20, worse_by=0.4, false_alarm=0.1, miss=0.1)


def on_canary(fleet):
    """Release 2 is tried by robot-1, release 1 is stable."""
    fleet.join("robot-1", "robot-2")
    fleet.publish()
    fleet.step()
    fleet.publish()
    fleet.drive(1, count=7)
    fleet.step(60)
    assert fleet.hub.steering().candidate == 0, "there is too little to measure it by"
    fleet.drive(1)
    fleet.step()
    fleet.step()
    assert (fleet.runs("robot-1"), fleet.runs("robot-2")) == (2, 1)


@promoting(canary=CANARY)
def test_a_candidate_that_does_as_well_becomes_stable(fleet):
    on_canary(fleet)
    fleet.drive(2, count=3)
    fleet.step()
    assert fleet.at(STABLE) == 1
    fleet.drive(2, count=3)
    fleet.step()
    assert fleet.at(STABLE) == 2
    assert (fleet.runs("robot-1"), fleet.runs("robot-2")) == (2, 2)
    assert "passed its canary: 6 of 6 without help" in fleet.verdicts[2]


@promoting(canary=CANARY)
@pytest.mark.parametrize("how", [{"outcome": Outcome.FAILURE}, {"sources": "phhp"}], ids=["fails", "needs help"])
def test_a_candidate_that_does_worse_is_refused_and_its_robot_goes_back(fleet, how):
    on_canary(fleet)
    fleet.publish()
    fleet.drive(2, count=3, **how)
    fleet.step()
    assert (fleet.at(STABLE), fleet.runs("robot-1")) == (1, 1)
    assert "refused: its canary: 0 of 3" in fleet.verdicts[2]
    fleet.step(60)
    fleet.step()
    assert fleet.runs("robot-1") == 3, "the next one is tried"


@promoting(canary=CANARY)
def test_a_robot_that_can_not_run_the_candidate_ends_its_trial_at_once(fleet):
    on_canary(fleet)
    fleet.hub.beat([RobotStatus("robot-2", "running", refused=2), RobotStatus("robot-1", "running", refused=1)])
    fleet.step()
    assert fleet.runs("robot-1") == 2, "neither another robot's word counts, nor a word about another release"
    fleet.hub.beat([RobotStatus("robot-1", "running", refused=2, alarm="release 2 is unusable: two arms missing")])
    fleet.step()
    assert fleet.runs("robot-1") == 1
    assert "robot-1 can't run it: release 2 is unusable: two arms missing" in fleet.verdicts[2]


@promoting(canary=CANARY)
def test_a_canary_goes_on_where_it_was_when_the_hub_is_opened_again(fleet):
    on_canary(fleet)
    fleet.drive(2, sources="phhp")
    fleet.step()
    fleet.close()
    fleet.open()
    fleet.join("robot-1", "robot-2")
    assert (fleet.runs("robot-1"), fleet.runs("robot-2")) == (2, 1)
    fleet.drive(2, sources="phhp")
    fleet.step()
    assert "0 of 2" in fleet.verdicts[2]


@promoting(canary=CANARY)
def test_a_clock_that_has_restarted_with_the_hub_stops_nothing(fleet):
    on_canary(fleet)
    fleet.close()
    fleet.clock = Virtual()
    fleet.open()
    fleet.join("robot-1", "robot-2")
    fleet.step(CANARY.robots)
    assert fleet.runs("robot-1") == 2
    fleet.drive(2, count=6)
    fleet.step()
    fleet.publish()
    fleet.drive(2, count=8)
    fleet.step(61)
    fleet.step()
    assert fleet.runs("robot-1") == 3


@promoting(canary=CANARY)
def test_a_rollback_ends_a_canary(fleet):
    on_canary(fleet)
    fleet.hub.roll_back(1)
    assert fleet.runs("robot-1") == 1
    fleet.step(100)
    assert fleet.runs("robot-1") == 1


@promoting(canary=CANARY)
def test_a_pinned_robot_tries_no_candidate(fleet):
    fleet.join("robot-1", "robot-2")
    fleet.publish()
    fleet.step()
    fleet.hub.pin("robot-1", 1)
    fleet.publish()
    fleet.drive(1, count=8)
    for _ in range(3):
        fleet.step(60)
    assert (fleet.runs("robot-1"), fleet.runs("robot-2")) == (1, 2)


@promoting(canary=CANARY, patience_s=100)
def test_a_candidate_under_which_nothing_comes_in_is_refused(fleet):
    on_canary(fleet)
    fleet.step(101)
    assert fleet.runs("robot-1") == 1
    assert "no verdict of its canary within 100 s" in fleet.verdicts[2]


# ---------------------------------------------------------------------- the test itself


@pytest.mark.parametrize("expected", [0.5, 0.7, 0.9])
def test_the_stated_chances_of_error_hold_where_the_expected_rate_is_right(expected):
    rng, runs, test = np.random.default_rng(0), 800, SequentialTest(expected, 0.2, 0.05, 0.05, most=100)

    def share_refused(rate: float) -> float:
        refused = 0
        for successes in np.cumsum(rng.random((runs, test.most)) < rate, axis=1).tolist():
            verdicts = (test.verdict(count, tries) for tries, count in enumerate(successes, 1))
            refused += next(verdict for verdict in verdicts if verdict is not None) is False
        return refused / runs

    slack = 3 * (0.05 * 0.95 / runs) ** 0.5
    assert share_refused(expected) <= 0.05 + slack
    assert share_refused(expected - 0.2) >= 0.95 - slack
    assert share_refused(expected - 0.4) >= 0.99
