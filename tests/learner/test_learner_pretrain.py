"""The base: behaviour cloning on demonstrations, and the directory it is kept in."""

import json

import pytest
import torch
from learner_world import ROBOT, TinyPolicy, demonstrations, hg_dagger, tiny_base, write_episode

import fleetloop.learner.base
from fleetloop.algorithms.bc import BehaviourCloning, BehaviourCloningOptions
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid
from fleetloop.learner.base import Base, load_base, write_base
from fleetloop.learner.errors import BaseInvalid
from fleetloop.learner.options import OptimizerOptions, PretrainOptions
from fleetloop.learner.pretrain import pretrain

OPTIONS = PretrainOptions(steps=150, batch=32, optimizer=OptimizerOptions(rate=1e-2, warmup_steps=5), held_out=0.3)


def clone(episodes, policy=None, options=OPTIONS, **what):
    torch.manual_seed(0)
    return pretrain(policy or TinyPolicy(), BehaviourCloning(BehaviourCloningOptions()), episodes, options, **what)


def test_it_learns_and_says_how(tmp_path):
    demos, told = demonstrations(tmp_path, 6, tasks=("push/left", "push/right")), []
    done = clone(demos, progress=lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == [100, 150]
    assert told[1][1] < told[0][1] < 1
    assert done.policy.stats.mean.abs().sum() > 0
    assert set(done.facts["tasks"]) == {"push/left", "push/right"}
    assert 0 < len(done.facts["held_out"]) < 12
    assert max(done.facts["loss_held_out"].values()) < 0.3


def test_the_same_demonstrations_in_any_order_give_the_same_base(tmp_path):
    demos = demonstrations(tmp_path, 4)
    one, other = clone(demos), clone(demos[::-1])
    for name, value in one.policy.state_dict().items():
        assert torch.equal(value, other.policy.state_dict()[name])


@pytest.mark.parametrize("decoded_bytes", [0, 2000, 1 << 30])
def test_however_little_room_there_is_the_base_is_the_same(tmp_path, decoded_bytes):
    demos, scratch = demonstrations(tmp_path / "demos", 4), tmp_path / "scratch"
    scratch.mkdir()
    options = OPTIONS.model_copy(update={"decoded_bytes": decoded_bytes})
    one, other = clone(demos), clone(demos, options=options, scratch=scratch)
    for name, value in one.policy.state_dict().items():
        assert torch.equal(value, other.policy.state_dict()[name])
    assert (scratch / "actions").exists() == (decoded_bytes > 0), "what batches are made of is not there"


def test_going_on_from_a_base_keeps_its_statistics(tmp_path):
    policy = TinyPolicy()
    policy.stats.mean.fill_(0.5)
    assert clone(demonstrations(tmp_path, 6), policy, fit_statistics=False).policy.stats.mean.tolist() == [0.5] * 3


def test_nothing_to_train_on_is_said(tmp_path):
    with pytest.raises(ConfigInvalid, match="demos record"):
        clone([Episode.open(write_episode(tmp_path, 1, "pp"))])
    with pytest.raises(ConfigInvalid):
        pretrain(TinyPolicy(), hg_dagger(), [], OPTIONS)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(fleetloop.learner.base, "plugin", lambda kind, name: {"tiny": TinyPolicy}[name])
    base = tiny_base(3)
    write_base(RealDisk(), tmp_path, Base(base.policy, "tiny", ROBOT, {"steps": 5}))
    return tmp_path, base.policy


def test_a_base_comes_back_exactly(kept):
    directory, policy = kept
    base = load_base(directory)
    assert base.name == "tiny"
    assert base.robot == ROBOT
    assert base.facts == {"steps": 5}
    for name, value in policy.state_dict().items():
        assert torch.equal(value, base.policy.state_dict()[name])


def test_a_policy_whose_config_is_no_json_leaves_the_base_that_was_there(kept):
    directory, _ = kept
    odd = tiny_base(4).policy
    odd.config = {"width": object()}
    with pytest.raises(BaseInvalid, match=r"policy\.config: of 'tiny' is not JSON"):
        write_base(RealDisk(), directory, Base(odd, "tiny", ROBOT))
    assert load_base(directory).facts == {"steps": 5}


def test_a_base_that_is_damaged_missing_or_another_policys_is_refused(kept):
    directory, _ = kept
    with pytest.raises(BaseInvalid, match="fleetloop pretrain"):
        load_base(directory / "nowhere")
    description = json.loads((directory / "base.json").read_text())
    description["policy"]["config"] = {"width": 7}
    (directory / "base.json").write_text(json.dumps(description))
    with pytest.raises(BaseInvalid, match="tiny"):
        load_base(directory)
    for odd in ('{"format": 1}', "[]", json.dumps({**description, "robot": 5})):
        (directory / "base.json").write_text(odd)
        with pytest.raises(BaseInvalid, match=r"base\.json: is no description of a base|format"):
            load_base(directory)
    (directory / "base.json").write_text(json.dumps(description))
    (directory / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(BaseInvalid, match=r"weights\.safetensors"):
        load_base(directory)
