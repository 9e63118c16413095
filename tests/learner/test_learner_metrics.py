"""What a learner writes of itself: lines of JSON, and the same for TensorBoard."""

import pytest
from metrics_read import rows

from fleetloop.core.disk import RealDisk
from fleetloop.learner.metrics import Metrics


def write(directory, steps, loss, tensorboard=None, back_to=None):
    metrics = Metrics(directory / "metrics.jsonl", RealDisk(), tensorboard)
    if back_to is not None:
        metrics.rewind(back_to)
    for step in steps:
        metrics.write({"kind": "step", "step": step, "tasks": {"push": {"loss": loss}}})
    metrics.close()


def test_a_resumed_run_writes_again_what_came_after_its_checkpoint(tmp_path):
    write(tmp_path, range(5), 1.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')  # killed in the middle of a row
    write(tmp_path, range(3, 6), 2.0, back_to=2)
    found = [(row["step"], row["tasks"]["push"]["loss"]) for row in rows(tmp_path)]
    assert found == [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 2)]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_what_a_power_cut_left_in_the_middle_keeps_no_learner_from_going_on(tmp_path):
    write(tmp_path, range(2), 1.0)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b"\0" * 40 + b"\n[1]\n")
    write(tmp_path, [2], 1.0)
    write(tmp_path, [3], 2.0, back_to=2)
    assert [row["step"] for row in rows(tmp_path)] == [0, 1, 2, 3]


@pytest.mark.parametrize("back_to", [2, -1])
def test_tensorboard_shows_no_step_twice_after_a_restart(tmp_path, back_to):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = tmp_path / "tensorboard"
    write(tmp_path, range(5), 1.0, board)
    write(tmp_path, range(back_to + 1, 6), 2.0, board, back_to=back_to)
    shown = reader.EventAccumulator(str(board))
    shown.Reload()
    expected = [(step, 1.0 if step <= back_to else 2.0) for step in range(6)]
    assert [(event.step, event.value) for event in shown.Scalars("tasks/push/loss")] == expected
