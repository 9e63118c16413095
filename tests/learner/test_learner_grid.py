"""Publishing on a grid: what is published, what is left alone, and what it saves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_world import MemoryHub, TinyPolicy, advance, beat, learner_at, write_episode
from torch import nn

from fleetloop.core.episode import Episode
from fleetloop.learner.export import release_weights, tensors
from fleetloop.learner.grid import Grid
from fleetloop.weights.codec import BLOCKS, decode, encode
from fleetloop.weights.verified import Known


def linear(scale: float = 0.02) -> nn.Module:
    torch.manual_seed(0)
    policy = nn.Linear(200, 300)
    nn.init.normal_(policy.weight, 0, scale)
    return policy


def published(policy: nn.Module, grid: Grid | None) -> dict[str, torch.Tensor]:
    return tensors(release_weights(policy.state_dict(), grid))


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 1e3), st.integers(0, 4))
def test_small_values_are_multiples_of_the_step_and_large_ones_as_fine_as_bf16(scale: float, exponent: int) -> None:
    policy = linear(scale)
    rms = policy.weight.detach().double().square().mean().sqrt()
    step = 2.0 ** (float(rms.log2().floor()) - 7 + exponent)
    on_grid = published(policy, Grid(policy, exponent))["weight"]
    assert torch.equal((on_grid / step).round() * step, on_grid)
    bf16 = policy.weight.detach().bfloat16().float()
    coarse = torch.maximum((bf16 - policy.weight).abs(), torch.tensor(step / 2))
    assert ((on_grid - policy.weight).abs() <= coarse * 1.001).all()


def test_what_is_on_the_grid_stays_where_it_is() -> None:
    policy = linear()
    grid = Grid(policy, 0)
    once = published(policy, grid)
    policy.load_state_dict(once)
    assert all(torch.equal(once[name], tensor) for name, tensor in published(policy, grid).items())


def test_statistics_and_what_does_not_train_are_left_alone() -> None:
    policy = TinyPolicy()
    policy.stats.mean.copy_(torch.tensor([0.1, 0.2, 0.3]))
    policy.body[0].requires_grad_(False)
    nn.init.zeros_(policy.body[2].bias)
    plain, on_grid = published(policy, None), published(policy, Grid(policy, 4))
    same = {name for name in plain if torch.equal(plain[name], on_grid[name])}
    assert set(plain) - same == {"body.2.weight"}


@pytest.mark.parametrize(("exponent", "least"), [(0, 1.2), (2, 2.0)])
def test_a_release_takes_fewer_bytes(exponent: int, least: float) -> None:
    """Weights that have moved as far as 25 steps at 1e-5 move them."""
    policy, moved = linear(), linear()
    with torch.no_grad():
        moved.weight += 1e-4 * torch.randn(moved.weight.shape)
    grid = Grid(policy, exponent)
    sizes = {
        kind: encode(
            release_weights(moved.state_dict(), by), BLOCKS, Known.of(release_weights(policy.state_dict(), by))
        )
        for kind, by in (("plain", None), ("grid", grid))
    }
    assert sizes["plain"].size / sizes["grid"].size > least


def test_a_learner_publishes_on_the_grid_of_its_base_and_trains_in_full(tmp_path: Path) -> None:
    hub, demo = MemoryHub(), Episode.open(write_episode(tmp_path, 1, "h" * 30, purpose="demonstration"))
    learner = learner_at(tmp_path / "learner", hub, demos=[demo], publish_grid=2, publish_every_steps=5)
    grid = Grid(TinyPolicy(), 2)
    base = learner.parts.grid
    assert base is not None
    advance(learner, 5)
    while len(hub.published) < 2:
        beat(learner)
    newest, state = hub.published[-1], learner.parts.trainer.average.state_dict()
    got = tensors(decode(newest, hub.get_blob, next(way for way in newest.encodings if way.base == 0)))
    weight = state["body.2.weight"]
    assert torch.equal(got["body.2.weight"], base.rounded("body.2.weight", weight).bfloat16().float())
    assert not torch.equal(weight, base.rounded("body.2.weight", weight)), "the masters keep their precision"
    assert set(grid._steps) == set(base._steps)
    assert np.isfinite(got["body.0.weight"].numpy()).all()
