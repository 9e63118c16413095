"""What a report says of tasks that nobody works at any more."""

import pytest

from fleetloop.lab.experiments import EXPERIMENTS, KEPT, RETENTION
from fleetloop.lab.forgetting import forgetting
from fleetloop.lab.results import ArmResults, Results


def of_two_seeds(arm, won, episodes=10):
    """Results of which each task was done at the first `won` of its resets."""
    tried = {
        task: [[1, int(number < won.get(task, 0)), 50] for number in range(episodes)]
        for task in RETENTION.setting.tasks
    }
    return ArmResults(arm, {seed: {"evaluation": tried} for seed in (0, 1)})


@pytest.fixture
def results():
    before = of_two_seeds("pretrained", {"restock/cooler": 9, "box/walls": 8, "restock/shelf": 10})
    after = of_two_seeds("not-replayed", {"restock/cooler": 9, "box/walls": 3})
    return Results(RETENTION, {arm.name: arm for arm in (before, after)})


def test_only_tasks_that_nobody_works_at_count(results):
    rows = [line for line in forgetting(results).splitlines() if line.startswith("| not-replayed")]
    assert [row.split("|")[2].strip() for row in rows] == [" and ".join(KEPT), *KEPT]
    assert "| 40 | 0.85 | 0.60 | 10 | 0 | 0.250 [" in rows[0]
    assert "| 20 | 0.90 | 0.90 | 0 | 0 | 0.000 [" in rows[1]
    assert "| 20 | 0.80 | 0.30 | 10 | 0 | 0.500 [" in rows[2]


def test_what_it_costs_to_keep_them_is_told_task_by_task():
    replayed = of_two_seeds("replayed", {"box/assemble": 6, "restock/shelf": 9})
    without = of_two_seeds("not-replayed", {"box/assemble": 9, "restock/shelf": 9})
    told = forgetting(
        Results(
            RETENTION, {"pretrained": of_two_seeds("pretrained", {})} | {arm.name: arm for arm in (replayed, without)}
        )
    )
    rows = {
        row.split("|")[3].strip(): row for row in told.partition("What it costs")[2].splitlines() if "replayed" in row
    }
    assert "| 0.60 | 0.90 | -0.30 [" in rows["box/assemble"]
    assert "| 0.90 | 0.90 | 0.00 [" in rows["restock/shelf"]
    assert "| 0.30 | 0.36 | -0.06 [" in rows["all that robots work at"]
    assert rows.keys().isdisjoint(KEPT)


def test_an_experiment_that_works_at_every_task_has_no_such_section():
    for experiment in EXPERIMENTS.values():
        worked_at = {task for robot in experiment.setting.robots for task in robot.tasks}
        assert (set(experiment.setting.tasks) - worked_at == set(KEPT)) == (experiment is RETENTION)
    assert forgetting(Results(EXPERIMENTS["main"], {})) == ""
