"""The demo's arithmetic on hand-made episodes, the rule of its pacer, its plan."""

from pathlib import Path
from typing import Any

import pytest
from demo_rows import measured, release, robot, row
from hypothesis import given
from hypothesis import strategies as st

from fleetloop.cli.config import load_config
from fleetloop.cli.config_text import to_yaml
from fleetloop.cli.demo import figures
from fleetloop.cli.demo.experience import ended, rolling
from fleetloop.cli.demo.figures import MEASURED
from fleetloop.cli.demo.journeys import Correction, corrections, publish_to_verified, spread_of
from fleetloop.cli.demo.pacer import CAP, LEAST, Pacer, Reading
from fleetloop.cli.demo.plan import DemoPlan, evaluation_counts, fleet_config
from fleetloop.sim.tasks import SIM_TASKS

# ---------------------------------------------------------------------- from a correction to the whole fleet


def corrected(id: str = "taught", **more: Any) -> Any:
    return row(id, last=12.0, takeover_ends_s=[8.0, 10.0], frames_human=40, interventions=2, **more)


def test_a_correction_has_arrived_when_the_last_robot_begins_an_episode_under_a_release_that_covers_it() -> None:
    rows = [
        corrected(),
        row("a", "r1", release=3, first=20.0),
        row("b", "r2", release=2, first=21.0),
        row("c", "r2", release=4, first=40.0),
        row("d", "r2", release=5, first=60.0),
    ]
    releases = [release(4, covers=("taught",)), release(3, covers=("taught",)), release(2)]
    assert corrections(rows, releases, ["r1", "r2"]) == [Correction(8.0, 12.0, 40.0), Correction(10.0, 12.0, 40.0)]


@pytest.mark.parametrize(
    ("rows", "covers"),
    [
        ([row("a", "r1", release=3, first=20.0)], ("taught",)),  # r2 never begins another episode
        ([row("a", "r1", release=3), row("b", "r2", release=0, first=30.0)], ("taught",)),  # a human drove all of b
        ([row("a", "r1", release=3), row("b", "r2", release=3)], ()),  # no release has drawn enough of it
    ],
)
def test_a_correction_that_has_not_reached_every_robot_is_pending(rows: list[Any], covers: tuple[str, ...]) -> None:
    found = corrections([corrected(), *rows], [release(3, covers=covers)], ["r1", "r2"])
    assert [item.reached_s for item in found] == [None, None]


def test_latencies_count_what_is_pending_apart() -> None:
    lived = figures.Lived(
        rows=[
            corrected(),
            corrected("late", seed=1),
            row("a", "r1", release=3, first=20.0),
            row("b", "r2", release=3, first=32.0),
        ],
        releases=[release(3, covers=("taught",), clock_s=15.0)],
        statuses=[robot("r1", 3), robot("r2", 1)],
        metrics=[{"kind": "first_draw", "episode": "taught", "episode_to_batch_s": 2.5}],
        installed=[{"version": 3, "clock_s": 16.0, "bytes": 7}],
        spooled=0,
        clock="scaled",
        began_s=0.0,
        time_scale={"mean": 8.0, "low": 7.0, "high": 9.0},
    )
    found = figures.fleet_figures(lived)["latency_s"]
    assert found["clock"] == "scaled"
    assert found["correction_to_fleet"] == {"p50": 23.0, "p99": pytest.approx(23.98), "n": 2, "pending": 2}
    assert found["correction_to_fleet_beyond_episode"] == {"p50": 20.0, "p99": 20.0, "n": 2}
    assert found["episode_to_batch"]["p50"] == 2.5
    assert found["publish_to_verified"]["p50"] == 1.0


def test_a_release_is_verified_once_although_a_rollback_installs_it_again() -> None:
    installed = [{"version": 1, "clock_s": 11.0}, {"version": 3, "clock_s": 33.0}, {"version": 1, "clock_s": 90.0}]
    releases = [release(1, clock_s=10.0), release(2, clock_s=20.0), release(3, clock_s=30.0)]
    assert publish_to_verified(releases, installed) == [1.0, 3.0]


def test_nothing_has_no_median() -> None:
    assert spread_of([]) == {"p50": None, "p99": None, "n": 0}


# ---------------------------------------------------------------------- the other figures


def test_the_gap_is_closed_by_the_share_of_the_way_to_the_expert() -> None:
    average = figures.average_figures(measured(10, 30, 12, 40))
    assert average == pytest.approx(
        {"before": 0.25, "after": 0.75, "control_after": 0.3, "expert": 1.0, "gap_closed": 2 / 3}
    )


def test_there_is_no_gap_where_the_expert_is_no_better() -> None:
    assert figures.gap_closed(0.5, 0.7, 0.5) is None


def test_tasks_are_reported_with_counts_and_intervals() -> None:
    counted = figures.task_figures(measured(10, 30, 12, 40))["box/walls"]
    assert set(counted) == set(MEASURED)
    assert counted["after"]["successes"] == 30
    assert counted["after"]["episodes"] == 40
    assert counted["after"]["low"] < 0.75 < counted["after"]["high"] < 1


def test_what_a_robot_finished_and_the_hub_does_not_have_is_lost() -> None:
    rows = [row("a", "r1"), row("b", "r1"), row("c", "r2")]
    assert figures.lost([robot("r1", 2), robot("r2", 1)], rows) == 0
    assert figures.lost([robot("r1", 2), robot("r2", 4), robot("r3", 1)], rows) == 4


def test_an_episode_under_two_ids_or_learnt_twice_is_a_duplicate() -> None:
    assert figures.duplicated([row("a", seed=1), row("b", seed=2)], []) == 0
    assert figures.duplicated([row("a", seed=1), row("b", seed=1)], []) == 1
    drawn = {"kind": "first_draw", "episode": "a"}
    assert figures.duplicated([row("a", seed=1)], [drawn, {"kind": "step"}, drawn]) == 1


def test_success_alone_rolls_over_the_last_episodes_that_ended_by_themselves() -> None:
    rows = [
        row("late", last=40.0),
        row("cut off", last=50.0, outcome="aborted"),
        row("helped", last=30.0, frames_human=5),
        row("failed", last=20.0, outcome="timeout"),
        row("other", last=10.0, task="laundry/fold"),
    ]
    mine = ended(rows, "box/walls")
    assert [item["id"] for item in mine] == ["failed", "helped", "late"]
    assert rolling(mine, window=2) == [0.0, 0.0, 0.5]


# ---------------------------------------------------------------------- the pace


READINGS = st.tuples(st.floats(0.1, 2), st.floats(0, 10), st.floats(0, 1))


@given(st.lists(READINGS, max_size=60), st.floats(1, 20))
def test_the_factor_stays_within_its_bounds(readings: list[tuple[float, float, float]], start: float) -> None:
    pacer, wall_s = Pacer(start, 0.0), 0.0
    for passed_s, lag_s, missed in readings:
        wall_s += passed_s
        assert LEAST <= pacer.advise(Reading(wall_s, lag_s, missed)) <= max(CAP, start)


@pytest.mark.parametrize(("lag_s", "missed"), [(1.5, 0.0), (0.0, 0.05)])
def test_the_pacer_slows_down_when_learner_or_robots_are_late_and_waits_for_the_effect(
    lag_s: float, missed: float
) -> None:
    pacer = Pacer(8.0, 0.0)
    assert pacer.advise(Reading(1.0, lag_s, missed)) == pytest.approx(7.2)
    assert pacer.advise(Reading(1.5, lag_s, missed)) == pytest.approx(7.2)
    assert pacer.advise(Reading(2.0, lag_s, missed)) == pytest.approx(6.48)


def test_the_pacer_slows_down_faster_when_most_is_missed() -> None:
    assert Pacer(8.0, 0.0).advise(Reading(1.0, 0.0, 0.5)) < 6.0


def test_the_pacer_speeds_up_only_after_some_seconds_of_ease() -> None:
    pacer = Pacer(8.0, 0.0)
    pacer.advise(Reading(1.0, 0.8, 0.0))  # not strained, and not easy either
    assert pacer.advise(Reading(4.5, 0.0, 0.0)) == 8.0
    assert pacer.advise(Reading(5.5, 0.0, 0.0)) > 8.0


# ---------------------------------------------------------------------- the plan


@pytest.mark.parametrize("real_time", [True, False])
@pytest.mark.parametrize("observe", ["state", "images"])
def test_the_configuration_that_a_demo_writes_reads_back_the_same(
    tmp_path: Path, real_time: bool, observe: str
) -> None:
    plan = DemoPlan(tmp_path, tuple(SIM_TASKS), robots=6, real_time=real_time, observe=observe)
    config = fleet_config(plan, 8787)
    (tmp_path / "fleet.yaml").write_text(to_yaml(config, docs=True))
    assert load_config(tmp_path / "fleet.yaml") == config
    assert (config.clock.file is None) == real_time
    assert [item.site for item in config.robots] == [1, 2, 3, 4, 1, 2]
    assert config.robots[1].tasks is not None
    assert config.robots[1].tasks[0] == plan.tasks[1]
    assert config.learner.optimizer.total_steps == 600 * config.learner.steps_per_s
    assert config.hub.attention.operators == 2
    assert (config.directories.encoder is not None) == (observe == "images")
    if observe == "images":  # the robots' pictures, the policy's and the encoder's are of one size
        sizes = {config.robot.options["image_px"], config.policy.options["image_px"], config.encoder.image_px}
        assert len(sizes) == 1


def test_every_simulated_task_has_a_number_of_demonstrations() -> None:
    assert set(SIM_TASKS) == set(DemoPlan(Path(), ()).demonstrations)


@pytest.mark.parametrize(("robots", "counts"), [(4, [11, 11, 10, 10]), (2, [21, 21]), (9, [11, 11, 10, 10])])
def test_the_evaluation_is_shared_out_over_the_sites_of_the_robots(robots: int, counts: list[int]) -> None:
    plan = DemoPlan(Path(), (), robots=robots, evaluation_episodes=42)
    assert list(evaluation_counts(plan).values()) == counts
