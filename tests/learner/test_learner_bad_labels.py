"""An algorithm whose labels or state can't be used: said at once, by the episode and the field."""

from dataclasses import replace

import numpy as np
import pytest
from learner_world import MemoryHub, advance, demonstrations, hg_dagger, learner_at, tiny_base

from fleetloop.core.errors import ConfigInvalid, SpecMismatch
from fleetloop.learner.errors import CheckpointInvalid, LabelsInvalid


def spoiled(**changes):
    """HG-DAgger with other labels: each change is made of (labels, frames)."""
    algorithm = hg_dagger()
    sound = algorithm.label

    def label(episode):
        labels = sound(episode)
        return replace(labels, **{name: change(len(episode)) for name, change in changes.items()})

    algorithm.label = label
    return algorithm


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weight": lambda n: np.full(n, np.nan, np.float32)}, r"labels.weight: of \S+ is negative or not finite"),
        ({"weight": lambda n: np.full(n, np.inf, np.float32)}, "labels.weight: .* not finite"),
        ({"weight": lambda n: np.full(n, -1, np.float32)}, "labels.weight: .* negative"),
        ({"weight": lambda n: np.float32(1)}, r"labels.weight: has the shape \[\] for the \d+ frames of"),
        ({"weight": lambda n: [1.0] * n}, "labels.weight: is a list for the"),
        ({"weight": lambda n: np.ones(n, int)}, "labels.weight: is int64 for .*; make it floating"),
        ({"train": lambda n: np.ones((n, 2), bool)}, r"labels.train: has the shape \[\d+, 2\]"),
        ({"train": np.arange}, "labels.train: is int64"),
        ({"train": lambda n: np.ones(n - 1, bool)}, r"labels.train: has the shape \[\d+\] for the \d+ frames"),
        ({"indicator": lambda n: np.full(n, 5, np.int8)}, "labels.indicator: of .* is unknown; 1 positive"),
    ],
)
def test_labels_that_can_not_be_trained_on_are_refused_by_field_and_episode(tmp_path, changes, told):
    demos = demonstrations(tmp_path / "demos", 1)
    with pytest.raises(LabelsInvalid, match=told) as refused:
        learner_at(tmp_path / "learner", MemoryHub(), demos=demos, algorithm=spoiled(**changes))
    assert demos[0].meta.id in str(refused.value)


@pytest.mark.parametrize("said", [None, "labels"])
def test_what_is_no_label_at_all_is_refused(tmp_path, said):
    algorithm = hg_dagger()
    algorithm.label = lambda episode: said
    with pytest.raises(LabelsInvalid, match="return FrameLabels"):
        learner_at(tmp_path / "learner", MemoryHub(), demos=demonstrations(tmp_path / "d", 1), algorithm=algorithm)


def test_an_algorithm_that_fails_on_an_episode_is_told_with_its_id(tmp_path):
    def label(episode):
        raise IndexError("index 0 is out of bounds")

    algorithm, demos = hg_dagger(), demonstrations(tmp_path / "demos", 1)
    algorithm.label = label
    with pytest.raises(LabelsInvalid, match=f"failed on episode {demos[0].meta.id}: IndexError: index 0"):
        learner_at(tmp_path / "learner", MemoryHub(), demos=demos, algorithm=algorithm)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"per task": {1: 2}}, r"per task\[1\]: is no JSON value"),
        ({"nested": {"array": np.zeros(2)}}, "nested.array: is no JSON value"),
        ({"words": np.array(["a"])}, "words: is <U1"),
        (None, "returned a NoneType"),
    ],
)
def test_a_state_that_would_not_come_back_stops_the_learner_at_its_checkpoint(tmp_path, state, told):
    algorithm = hg_dagger()
    algorithm.state_dict = lambda: state
    learner = learner_at(
        tmp_path / "learner", MemoryHub(), demos=demonstrations(tmp_path / "d", 1), algorithm=algorithm
    )
    with pytest.raises(CheckpointInvalid, match=f"Algorithm.state_dict.*{told}"):
        learner.checkpoint()


def test_a_condition_that_the_algorithm_does_not_name_is_refused_before_any_robot_refuses_its_releases(tmp_path):
    class Odd(type(hg_dagger())):
        condition = "positive"

    algorithm = Odd(None)
    with pytest.raises(ConfigInvalid, match="'positive' is none of its conditions"):
        learner_at(tmp_path / "learner", MemoryHub(), demos=demonstrations(tmp_path / "d", 1), algorithm=algorithm)


def test_a_condition_that_the_policy_does_not_know_is_refused_before_any_robot_acts_on_it(tmp_path):
    class Odd(type(hg_dagger())):
        conditions, condition = frozenset({"good", "bad"}), "good"

    base = tiny_base()
    base.policy.conditions = frozenset({"good"})
    told = {"demos": demonstrations(tmp_path / "d", 1), "algorithm": Odd(hg_dagger().options), "base": base}
    with pytest.raises(ConfigInvalid, match="'bad' is unknown to the policy; it knows: good"):
        learner_at(tmp_path / "learner", MemoryHub(), **told)
    del base.policy.conditions  # it doesn't say: nobody can tell
    learner_at(tmp_path / "learner", MemoryHub(), **told)


def test_a_demonstration_of_another_robot_is_named(tmp_path):
    """Among hundreds in a directory, one that was recorded at another rate."""
    demos = demonstrations(tmp_path / "d", 2)
    demos[1].meta = replace(demos[1].meta, spec=replace(demos[1].meta.spec, control_hz=99.0))
    with pytest.raises(SpecMismatch, match=rf"episode {demos[1].meta.id}: control_hz: .*the robot offers 99\.0 Hz"):
        learner_at(tmp_path / "learner", MemoryHub(), demos=demos)


def test_a_next_version_with_odd_weights_is_refused(tmp_path):
    learner = learner_at(tmp_path / "learner", MemoryHub(), demos=(demos := demonstrations(tmp_path / "d", 1)))
    advance(learner, 1)
    labels = learner.parts.algorithm.label(demos[0])
    with pytest.raises(LabelsInvalid, match="not finite"):
        learner.parts.buffer.relabel(demos[0].meta.id, replace(labels, weight=labels.weight * np.nan))
