"""One optimizer step, and what stops it."""

import numpy as np
import pytest
import torch
from learner_world import SPEC, TinyPolicy, hg_dagger, write_episode

from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid
from fleetloop.learner.anchor import anchor_of
from fleetloop.learner.arrival import prepare
from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.errors import LossInvalid
from fleetloop.learner.export import exact_weights, is_statistic, release_weights, statistics_hash, tensors
from fleetloop.learner.options import AnchorOptions, OptimizerOptions
from fleetloop.learner.trainer import Trainer
from fleetloop.weights.codec import from_safetensors, to_safetensors


@pytest.fixture
def batch(tmp_path):
    buffer = ExperienceBuffer(SPEC, max_replay=9)
    path = write_episode(tmp_path, 1, "h" * 20)
    buffer.ingest(prepare(Episode.open(path), hg_dagger(), SPEC))
    return buffer.gather(np.arange(20, dtype=np.int32), np.zeros(20, np.int64), np.ones(20, bool))


def trainer(policy=None, **options):
    torch.manual_seed(0)
    return Trainer(policy or TinyPolicy(), hg_dagger(), OptimizerOptions(**options), 0)


def words(where):
    return f"positions {where.tolist()}"


def test_training_lowers_the_loss_and_leaves_the_statistics(batch):
    one = trainer(rate=1e-2, warmup_steps=0)
    before = statistics_hash(one.policy.state_dict())
    losses = [one.train(batch, words).losses.mean() for _ in range(100)]
    assert losses[-1] < 0.5 * losses[0]
    assert one.step == 100
    assert statistics_hash(one.policy.state_dict()) == before


def test_the_average_follows_with_a_warm_up(batch):
    one = trainer(rate=1e-2, ema=0.9)
    mean = {name: value.clone() for name, value in one.policy.named_parameters()}
    for step in range(1, 25):
        one.train(batch, words)
        decay = min(0.9, (1 + step) / (10 + step))
        mean = {name: decay * mean[name] + (1 - decay) * value for name, value in one.policy.named_parameters()}
    for name, value in one.average.named_parameters():
        torch.testing.assert_close(value, mean[name].detach())


def test_every_sample_counts_alike(batch):
    class Indexed(TinyPolicy):
        def loss(self, batch, *, rng):
            return self.body[0].bias[:1] * torch.arange(float(len(batch)))

    policy = Indexed()
    one = trainer(policy, clip_norm=1e6)
    one.train(batch, words)
    assert policy.body[0].bias.grad[0].item() == pytest.approx(np.arange(20).mean())


def test_gradients_are_clipped(batch):
    one = trainer(clip_norm=1e-3)
    assert one.train(batch, words).gradient_norm > 1e-3
    norm = torch.stack([weight.grad.norm() for weight in one.policy.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_the_rate_warms_up_stays_and_anneals_on_request():
    constant = trainer(rate=1.0, warmup_steps=9)
    assert [constant.rate(step) for step in (0, 4, 9, 10**6)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    annealed = trainer(rate=1.0, warmup_steps=0, total_steps=100, anneal_from=0.6, anneal_to=0.1)
    rates = [annealed.rate(step) for step in (0, 59, 80, 100, 500)]
    assert rates == pytest.approx([1.0, 1.0, 0.55, 0.1, 0.1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_its_samples_and_changes_nothing(batch, bad):
    class Broken(TinyPolicy):
        def loss(self, batch, *, rng):
            return super().loss(batch, rng=rng) + torch.where(torch.arange(len(batch)) == 3, bad, 0.0)

    one = trainer(Broken())
    before = [value.clone() for value in one.policy.parameters()]
    with pytest.raises(LossInvalid, match=r"loss: is not finite at step 0, positions \[3\]"):
        one.train(batch, words)
    assert all(torch.equal(old, new) for old, new in zip(before, one.policy.parameters(), strict=True))


def test_a_gradient_that_is_not_finite_changes_nothing(batch):
    class Steep(TinyPolicy):
        def loss(self, batch, *, rng):
            return torch.sqrt(self.body[0].weight.sum() * 0.0).expand(len(batch))

    one = trainer(Steep())
    before = [value.clone() for value in one.policy.parameters()]
    with pytest.raises(LossInvalid, match="gradient"):
        one.train(batch, words)
    assert all(torch.equal(old, new) for old, new in zip(before, one.policy.parameters(), strict=True))


def test_a_loss_of_another_shape_is_refused(batch):
    class Scalar(TinyPolicy):
        def loss(self, batch, *, rng):
            return super().loss(batch, rng=rng).mean()

    with pytest.raises(LossInvalid, match=r"shape \[\], not \[20\]"):
        trainer(Scalar()).train(batch, words)


class Distant(TinyPolicy):
    def distance(self, other, batch, *, rng):
        position = torch.from_numpy(batch.state["position"]) - self.stats.mean
        return (self.body(position) - other.body(position)).square().mean(1)


def moved(policy, start):
    """How far the weights went from `start`, and how far the answers did."""
    far = [(now - before).square().sum() for now, before in zip(policy.parameters(), start.parameters(), strict=True)]
    positions = torch.linspace(-1, 1, 30).view(10, 3)
    return torch.stack(far).sum().item(), (policy.body(positions) - start.body(positions)).square().mean().item()


def test_an_anchor_holds_the_weights_or_the_answers_near_the_base(batch):
    def run(**anchor):
        torch.manual_seed(0)
        policy, start = Distant(), Distant()
        start.load_state_dict(policy.state_dict())
        one = Trainer(
            policy,
            hg_dagger(),
            OptimizerOptions(rate=1e-2, warmup_steps=0),
            0,
            anchor_of(policy, AnchorOptions(**anchor)),
        )
        for _ in range(60):
            one.train(batch, words)
        return moved(policy, start)

    free, by_l2, by_kl = run(), run(l2=5.0), run(kl=50.0)
    assert by_l2[0] < 0.3 * free[0]
    assert by_kl[1] < 0.3 * free[1]


def test_a_distance_that_a_policy_does_not_have_is_refused():
    with pytest.raises(
        ConfigInvalid, match=r"learner\.anchor\.kl: needs a policy with the method `distance`; TinyPolicy"
    ):
        anchor_of(TinyPolicy(), AnchorOptions(kl=0.1))
    assert anchor_of(TinyPolicy(), AnchorOptions()) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint16, torch.bool])
def test_weights_of_every_type_outlive_a_checkpoint_unrounded(dtype):
    held = torch.arange(6).reshape(2, 3).to(dtype).T
    (back,) = from_safetensors(to_safetensors(exact_weights({"held": held}))).values()
    assert back.shape == (3, 2)
    assert torch.equal(torch.from_numpy(back.astype(np.float64)), held.double())


def test_a_release_carries_bf16_and_exact_statistics():
    policy = TinyPolicy()
    policy.stats.mean.copy_(torch.tensor([1 / 3, 2 / 3, 0.1]))
    weights = release_weights(policy.state_dict())
    assert {name for name, array in weights.items() if array.dtype == np.float32} == {"stats.mean"}
    assert is_statistic("encoder.stats.plain.mean")
    assert not is_statistic("encoder.statistical.mean")
    back = tensors(weights)
    assert torch.equal(back["stats.mean"], policy.stats.mean)
    for name, value in policy.body.state_dict(prefix="body.").items():
        assert torch.equal(back[name], value.to(torch.bfloat16).float())
        back[name].add_(1)  # owns its memory
    with torch.no_grad():
        policy.body[0].weight.zero_()
    assert weights["body.0.weight"].astype(np.float32).any()
