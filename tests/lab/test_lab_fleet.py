"""The virtual fleet: it repeats itself, charges what things cost, and keeps the rules that a real one keeps."""

from collections import Counter

import numpy as np
import pytest
from lab_world import STEPS_PER_S, World

from fleetloop.core.frame import Source
from fleetloop.core.outcome import Outcome
from fleetloop.lab.plan import Choice

SECONDS = 20.0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def lived(world):
    """A fleet of three with one operator, after its work."""
    fleet = world.fleet(3)
    fleet.run(SECONDS)
    fleet.stop()
    yield fleet
    fleet.close()


def test_two_runs_are_the_same_bit_for_bit_however_their_time_is_cut(world, lived):
    again = world.fleet(3)
    for until in (3.3, 11.0, SECONDS):
        again.run(until)
    again.stop()
    assert again.newest().result_hash == lived.newest().result_hash
    assert again.rows == lived.rows, "ids, times, hashes, outcomes"
    again.close()


def test_episodes_reach_the_learner_and_releases_reach_the_robots(lived):
    assert {row["task"] for row in lived.rows} == {"restock/shelf", "box/walls"}
    assert {row["robot"] for row in lived.rows} == {"robot-1", "robot-2", "robot-3"}
    assert len({row["id"] for row in lived.rows}) == len(lived.rows) == len(lived.episodes)
    assert max(row["release_max"] for row in lived.rows) > 1
    assert any(row["frames_human"] for row in lived.rows)
    assert lived.learner.cursor == len(lived.rows)
    whole = [row for row in lived.rows if row["outcome"] != Outcome.ABORTED]
    assert all(row["ticks_missed"] == 0 for row in whole)


def test_the_learners_budget_does_not_depend_on_the_fleets_size(world, lived):
    alone = world.fleet(1)
    alone.run(SECONDS)
    alone.stop()
    assert alone.learner.steps == lived.learner.steps
    assert lived.learner.steps == pytest.approx(SECONDS * STEPS_PER_S, abs=1)
    assert len(alone.rows) < len(lived.rows)
    alone.close()


def test_no_frame_is_driven_by_weights_that_are_still_under_way(lived):
    handed_over = {release.version: release.clock_s for release in lived.hub.releases()}
    install_s = lived.plan.costs.install_s
    for episode in lived.episodes:
        version = int(episode.column("release")[0])
        assert episode.column("clock_s")[0] >= handed_over[version] + install_s


def test_an_episode_takes_its_time_to_the_hub(lived):
    costs = lived.plan.costs
    at_work = [row for row in lived.rows if row["received_clock_s"] < SECONDS]  # the others when everything ends
    assert at_work
    for row in at_work:
        assert row["received_clock_s"] >= row["last_clock_s"] + costs.upload_s


def test_one_operator_drives_one_robot_at_a_time(lived):
    driven: Counter[int] = Counter()
    for episode in lived.episodes:
        human = episode.source == Source.HUMAN
        driven.update(np.unique(np.round(episode.column("clock_s")[human] * 20).astype(int)).tolist())
    assert driven
    assert max(driven.values()) == 1


def test_without_operators_nobody_takes_over(world):
    fleet = world.fleet(2, operators=0)
    fleet.run(SECONDS)
    fleet.stop()
    assert fleet.rows
    assert not any(row["frames_human"] for row in fleet.rows)
    fleet.close()


def test_recap_switches_its_labels_while_the_fleet_works(world):
    options = {"value_steps": 5, "refresh_every": 10, "refresh_steps": 3}
    fleet = world.fleet(2, operators=0, algorithm=Choice("recap", options))
    fleet.run(SECONDS)
    fleet.stop()
    assert fleet.newest().condition == "positive"
    assert fleet.learner.parts.algorithm.version > 1
    fleet.close()
