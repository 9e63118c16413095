"""Checkpoints: whole or not there, and the same on the way back."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble
from fleetloop.learner.checkpoint import (
    STATE,
    TENSORS,
    Checkpoint,
    CheckpointWriter,
    divided,
    existing,
    latest,
    load,
    save,
    set_back,
)
from fleetloop.learner.errors import CheckpointInvalid


def checkpoint(step):
    arrays = {
        "trainer.policy.weight": np.linspace(0, 1, 7, dtype=np.float32) * step,
        "sampler.windows": np.random.default_rng(step).random((2, 2, 5)),
        "draws": np.arange(step, dtype=np.int32),
        "epoch": np.zeros(2, np.int64),
        "online_draws": np.array(3),
    }
    return Checkpoint("run", step, 12, 3, "c0ffee", arrays, ("A", "B"), {"round": 2}, "bc", ("left", "right"))


def same(one, other):
    assert {**vars(one), "arrays": None} == {**vars(other), "arrays": None}
    assert {name: (array.dtype, array.shape, array.tobytes()) for name, array in one.arrays.items()} == {
        name: (array.dtype, array.shape, array.tobytes()) for name, array in other.arrays.items()
    }


def test_what_is_read_is_what_was_written(tmp_path):
    path = save(RealDisk(), tmp_path, checkpoint(30), keep=3)
    same(load(path), checkpoint(30))


def test_the_newest_ones_are_kept(tmp_path):
    for step in (5, 10, 100, 20):
        save(RealDisk(), tmp_path, checkpoint(step), keep=2)
    assert [load(path).step for path in existing(tmp_path)] == [20, 100]


def test_going_back_to_a_release_puts_what_came_after_it_aside(tmp_path):
    for step, release in ((10, 4), (20, 8), (30, 12)):
        save(RealDisk(), tmp_path, replace(checkpoint(step), release=release), keep=3)
    set_back(RealDisk(), tmp_path, 9)
    assert (latest(tmp_path).step, latest(tmp_path).release) == (20, 8)
    assert load(tmp_path / "aside-step-0000000030").release == 12
    with pytest.raises(CheckpointInvalid, match="release 3: is older than every checkpoint"):
        set_back(RealDisk(), tmp_path, 3)
    assert latest(tmp_path).step == 20, "and nothing is put aside then"


def test_one_of_a_release_that_was_on_its_way_out_comes_after_the_one_before(tmp_path):
    """While a large one is uploaded: its weights are trained on, and may have what was wrong with it."""
    save(RealDisk(), tmp_path, replace(checkpoint(10), release=2), keep=3)
    save(RealDisk(), tmp_path, replace(checkpoint(50), release=2, publishing=True), keep=3)
    assert latest(tmp_path).publishing
    set_back(RealDisk(), tmp_path, 2)
    assert latest(tmp_path).step == 10


def test_one_that_is_half_gone_does_not_keep_anybody_from_going_back(tmp_path):
    """Somebody was killed while it removed the oldest, for example."""
    for step, release in ((10, 4), (20, 8), (30, 12)):
        save(RealDisk(), tmp_path, replace(checkpoint(step), release=release), keep=3)
    (tmp_path / "step-0000000010" / STATE).unlink()
    set_back(RealDisk(), tmp_path, 9)
    assert latest(tmp_path).release == 8


def test_one_that_has_given_way_to_another_of_its_step_counts_no_more(tmp_path):
    """Killed between the two."""
    save(RealDisk(), tmp_path, checkpoint(5), keep=1)
    shutil.copytree(tmp_path / "step-0000000005", tmp_path / "old")
    save(RealDisk(), tmp_path, replace(checkpoint(5), cursor=20), keep=1)
    (tmp_path / "old").rename(tmp_path / "step-0000000005.before")
    assert latest(tmp_path).cursor == 20
    assert [path.name for path in existing(tmp_path)] == ["step-0000000005"]


def test_the_same_step_again_replaces_it(tmp_path):
    for _ in range(2):
        save(RealDisk(), tmp_path, checkpoint(5), keep=2)
    same(latest(tmp_path), checkpoint(5))


@pytest.mark.parametrize("moves", [0, 1])
def test_killed_while_it_writes_the_same_step_again_it_loses_none(tmp_path, moves):
    """Be it the only one that is kept."""

    class Killed(Exception):
        pass

    class Dying(RealDisk):
        left = moves

        def rename(self, source, target):
            if target.parent == tmp_path:
                self.left -= 1
                if self.left < 0:
                    raise Killed
            super().rename(source, target)

    save(RealDisk(), tmp_path, checkpoint(5), keep=1)
    with pytest.raises(Killed):
        save(Dying(), tmp_path, replace(checkpoint(5), cursor=20), keep=1)
    assert latest(tmp_path).step == 5
    assert list(tmp_path.glob(".building-*")) != []
    CheckpointWriter(RealDisk(), tmp_path, 1)
    assert list(tmp_path.glob(".building-*")) == []
    save(RealDisk(), tmp_path, replace(checkpoint(5), cursor=20), keep=1)
    assert [load(path).cursor for path in existing(tmp_path)] == [20]


@pytest.mark.parametrize("victim", [TENSORS, STATE])
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path, victim):
    save(RealDisk(), tmp_path, checkpoint(5), keep=2)
    path = save(RealDisk(), tmp_path, checkpoint(6), keep=2) / victim
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data[:-3])
    assert latest(tmp_path).step == 5
    with pytest.raises(CheckpointInvalid, match="step-0000000006"):
        load(path.parent)


def test_if_all_are_damaged_it_says_so_instead_of_starting_over(tmp_path):
    (save(RealDisk(), tmp_path, checkpoint(5), keep=2) / TENSORS).unlink()
    with pytest.raises(CheckpointInvalid, match="step-0000000005"):
        latest(tmp_path)


def test_a_state_that_the_algorithm_changes_afterwards_is_kept_as_it_was():
    state = {"seen": [1], "mean": np.zeros(2)}
    arrays, rest = divided(state)
    state["seen"].append(2)
    state["mean"][:] = 7
    assert rest == {"seen": [1]}
    assert arrays["mean"].tolist() == [0, 0]


def test_a_directory_that_is_none_is_not_to_be_removed(tmp_path):
    with pytest.raises(CheckpointInvalid, match="holds no checkpoint; name one of a learner's"):
        load(tmp_path)


def _said_otherwise(path, **changes):
    said = {**json.loads((path / STATE).read_bytes()), **changes}
    (path / STATE).write_text(json.dumps({name: value for name, value in said.items() if value is not None}))


def test_another_format_says_which_is_read(tmp_path):
    _said_otherwise(path := save(RealDisk(), tmp_path, checkpoint(5), keep=2), format=3)
    with pytest.raises(CheckpointInvalid, match="this version reads 2"):
        load(path)


def test_one_from_before_tombstones_is_read(tmp_path):
    _said_otherwise(path := save(RealDisk(), tmp_path, checkpoint(5), keep=2), tasks=None)
    assert load(path).tasks == ()


def test_a_path_where_nothing_is_says_so(tmp_path):
    with pytest.raises(CheckpointInvalid, match="nowhere: is no directory"):
        load(tmp_path / "nowhere")


def test_no_checkpoint_is_no_error(tmp_path):
    assert latest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("survives", [0, 1, 2])
def test_a_write_that_fails_leaves_the_old_one(tmp_path, survives):
    class FullDisk(RealDisk):
        writes = 0

        def write(self, path, data):
            if self.writes == survives:
                raise DiskTrouble(str(path), "the disk is full")
            self.writes += 1
            super().write(path, data)

        def rename(self, source, target):
            if target.name.startswith("step-") and self.writes == survives == 2:
                raise DiskTrouble(str(target), "the disk is full")
            super().rename(source, target)

    save(RealDisk(), tmp_path, checkpoint(5), keep=2)
    with pytest.raises(DiskTrouble):
        save(FullDisk(), tmp_path, checkpoint(6), keep=2)
    assert latest(tmp_path).step == 5
    save(RealDisk(), tmp_path, checkpoint(6), keep=2)
    assert latest(tmp_path).step == 6


def test_the_writer_writes_the_newest_that_was_offered(tmp_path):
    writer = CheckpointWriter(RealDisk(), tmp_path, keep=3)
    for step in (1, 2):
        writer.offer(checkpoint(step))
    writer.work()
    writer.work()
    assert [load(path).step for path in existing(tmp_path)] == [2]
