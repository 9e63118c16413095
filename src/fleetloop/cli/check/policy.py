"""The contract of a policy: one that acts, one that trains, and that both are the same."""

import copy
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fleetloop.cli.check.experience import batch_for, every_indicator
from fleetloop.cli.check.findings import expect, left_alone
from fleetloop.core.episode import Episode
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.policy import Batch, under_robot_names
from fleetloop.core.spec import PolicySpec, RobotSpec, check_fit
from fleetloop.learner.export import release_weights, tensors
from fleetloop.weights.codec import BLOCKS, decode_tensors, encode, from_safetensors, to_safetensors

BINS = 11
CLOSE = 1e-3  # of the largest action
INSTRUCTION = "do task 0"


@dataclass(frozen=True)
class PolicySubject:
    """`policy` is freshly built with `config` for `robot`; `kind` is the plug-in."""

    kind: Any
    policy: Any
    config: Mapping[str, Any]
    robot: RobotSpec
    episodes: Sequence[Episode]

    def batch(self) -> Batch:
        return batch_for(self.policy, self.episodes)

    def observation(self) -> Observation:
        """A frame of a recording as the robot shows it, without labels."""
        episode = self.episodes[0]
        state = {item.name: episode.state(item.name)[0].copy() for item in self.robot.state if not item.label}
        images = {item.name: episode.picture(item.name, 0) for item in self.robot.cameras}
        return Observation(state, 0.0, images, dict.fromkeys(images, 0.0))

    def chunk(
        self, policy: Any, instruction: str = INSTRUCTION, condition: str | None = None, seed: int = 0
    ) -> FloatArray:
        """As a robot asks for it."""
        rng, seen = np.random.default_rng(seed), self.observation()
        with left_alone(seen):
            return under_robot_names(policy).chunk(seen, instruction, condition, rng=rng)

    def apart(self, one: Any, other: Any) -> float:
        """How far their chunks are apart, as a share of the largest action (at least 1)."""
        here, there = self.chunk(one), self.chunk(other)
        return float(np.abs(here - there).max()) / max(1.0, float(np.abs(here).max()))

    def released(self) -> dict[str, npt.NDArray[Any]]:
        """Its weights as a release carries them."""
        return release_weights(self.policy.state_dict(), buffers=dict(self.policy.named_buffers()))

    def holding(self, state: Mapping[str, torch.Tensor]) -> Any:
        """A policy like it with other weights."""
        policy = self.kind.build(self.config, self.robot)
        policy.load_state_dict(state)
        return policy.eval()

    def losses(self, batch: Batch, seed: int = 0) -> torch.Tensor:
        return self.policy.loss(batch, rng=torch.Generator().manual_seed(seed))  # type: ignore[no-any-return]


def building(subject: PolicySubject) -> None:
    """It says what it consumes and emits, and the robot that it was built for offers that."""
    spec = subject.policy.spec
    expect(isinstance(spec, PolicySpec), f"`spec` is a {type(spec).__name__}", "make it a PolicySpec")
    check_fit(subject.robot, spec)
    labels = {feature.name for feature in subject.robot.state if feature.label} & {item.name for item in spec.inputs}
    expect(not labels, f"it consumes {sorted(labels)}", "label features are training targets, never inputs")


def remembering_its_options(subject: PolicySubject) -> None:
    """Its `config` survives JSON and builds the same policy again."""
    config = json.loads(json.dumps(subject.policy.config))
    again = subject.kind.build(config, subject.robot)
    expect(again.spec == subject.policy.spec, "the specification is another", "put every option into `config`")
    shapes = [{name: tuple(item.shape) for name, item in one.state_dict().items()} for one in (again, subject.policy)]
    expect(shapes[0] == shapes[1], "its tensors have other names or shapes", "put every option into `config`")


def chunking(subject: PolicySubject) -> None:
    """A chunk is (horizon, A) float32 and finite, for known words, for new ones and for none."""
    spec = subject.policy.spec
    wanted = (spec.horizon, *spec.action.shape)
    for instruction in (INSTRUCTION, "xyzzy plugh", ""):
        _expect_chunk(subject.chunk(subject.policy, instruction), wanted, repr(instruction))


def heeding_conditions(subject: PolicySubject) -> None:
    """It acts, and has a loss, under every condition that it names."""
    policy, spec = subject.policy, subject.policy.spec
    named: Any = getattr(policy, "conditions", frozenset())
    fine = isinstance(named, Set) and all(isinstance(word, str) for word in named)
    expect(fine, f"`conditions` is {named!r}", "make it a frozenset of words")
    for condition in sorted(named):
        chunk = subject.chunk(policy, condition=condition)
        _expect_chunk(chunk, (spec.horizon, *spec.action.shape), f"the condition {condition!r}")
    if named:
        batch = subject.batch()
        losses = subject.losses(replace(batch, indicator=every_indicator(len(batch))))
        problem = "the loss of samples with an indicator is not finite"
        expect(bool(torch.isfinite(losses).all()), problem, "1 is positive, 0 negative, -1 none")


def judging(subject: PolicySubject) -> None:
    """Its critic, if it has one, says something finite of every frame, and can learn."""
    if not hasattr(subject.policy, "critic"):
        return
    critic, frames = subject.policy.critic(BINS), np.arange(3)
    logits = critic.logits(critic.look(subject.episodes[0], frames), [INSTRUCTION, ""], np.array([0, 1, 0]))
    given = f"its logits are {logits.dtype} {list(logits.shape)}"
    expect((logits.shape, logits.dtype) == ((3, BINS), torch.float32), given, f"return float32 {[3, BINS]}")
    expect(bool(torch.isfinite(logits).all()), "its logits are not finite", "look at the network")
    expect(logits.requires_grad, "its logits carry no gradient", "compute them in torch, without no_grad or detach")


def going_on(subject: PolicySubject) -> None:
    """It takes the actions that are under way, of which some can't be changed any more, as a robot hands them over."""
    spec, acting = subject.policy.spec, under_robot_names(subject.policy)
    for prefix, delay in ((None, 0), (subject.chunk(subject.policy)[: spec.execute], 1)):
        rng = np.random.default_rng(0)
        chunk = acting.chunk(subject.observation(), INSTRUCTION, None, rng=rng, prefix=prefix, delay=delay)
        given, wanted = f"with a prefix it gives {list(np.shape(chunk))}", (spec.horizon, *spec.action.shape)
        expect(np.shape(chunk) == wanted, given, f"return float32{list(wanted)}")


def repeating(subject: PolicySubject) -> None:
    """The same `rng` gives the same chunk and the same losses."""
    same = np.array_equal(subject.chunk(subject.policy), subject.chunk(subject.policy))
    expect(same, "two chunks differ", "draw from `rng` alone; in `chunk` there is no dropout")
    batch = subject.batch()
    first, again = subject.losses(batch), subject.losses(batch)
    expect(torch.equal(first, again), "two losses differ", "draw from `rng` alone")


def losing(subject: PolicySubject) -> None:
    """The loss is (B,), one per sample, finite, and its gradient reaches the parameters."""
    batch = subject.batch()
    losses = subject.losses(batch)
    given, count = f"it has the shape {list(losses.shape)}", len(batch)
    expect(tuple(losses.shape) == (count,), given, f"return [{count}] for {count} samples: no mean over the batch")
    expect(bool(torch.isfinite(losses).all()), "it is not finite", "look at logarithms and divisions")
    parameters = [item for item in subject.policy.parameters() if item.requires_grad]
    expect(bool(parameters), "there is no parameter to train", "register parameters with requires_grad")
    expect(losses.requires_grad, "it carries no gradient", "compute it in torch, without no_grad or detach")
    gradients = torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
    there = [item for item in gradients if item is not None]
    finite = all(bool(torch.isfinite(item).all()) for item in there)
    expect(bool(there) and finite, "no parameter gets a finite gradient", "look at where the graph is cut")


def training_in_full(subject: PolicySubject) -> None:
    """What trains is held in float32: in bf16 a small step is rounded away, and nothing is learned."""
    coarse = [
        name
        for name, item in subject.policy.named_parameters()
        if item.requires_grad and item.dtype in (torch.bfloat16, torch.float16)
    ]
    wrong = f"{len(coarse)} parameters train in 16 bits, e.g. {coarse[:1]}"
    expect(not coarse, wrong, "keep them in float32 and compute in bf16: torch.autocast in `loss`")


def each_for_itself(subject: PolicySubject) -> None:
    """A sample's loss depends on that sample alone."""
    batch = subject.batch()
    actions = batch.actions.copy()
    actions[0, :, 0] += 0.5  # one axis: on several, what they change may cancel
    change = (subject.losses(replace(batch, actions=actions)) - subject.losses(batch)).abs().detach()
    expect(
        float(change[0]) > 0, "the first sample's target does not matter to its loss", "compare with `batch.actions`"
    )
    others = float(change[1:].max())
    expect(others < 1e-5, "the first sample's target changes other losses", "no batch normalisation, no mean over B")


def heeding_the_mask(subject: PolicySubject) -> None:
    """Actions where `batch.mask` is 0 are no targets.

    All of a sample is masked here: with part of it, a flow policy may still see the rest as noisy input.
    """
    batch = subject.batch()
    batch = replace(batch, mask=np.zeros_like(batch.mask))
    actions = batch.actions.copy()
    actions[..., 0] += 0.5
    moved = replace(batch, actions=actions)
    change = float((subject.losses(moved) - subject.losses(batch)).abs().max().detach())
    wrong = "the loss changes with them" if np.isfinite(change) else "the loss of a sample without any is not finite"
    expect(change < 1e-5, wrong, "multiply each step's error by `batch.mask`, and divide by its sum, at least 1")


def normalising(subject: PolicySubject) -> None:
    """`fit_statistics` changes buffers whose path has a part `stats`, and nothing else."""
    before = {name: item.clone() for name, item in subject.policy.state_dict().items()}
    subject.policy.fit_statistics(subject.batch())
    after = subject.policy.state_dict()
    changed = [name for name in after if not torch.equal(after[name], before[name])]
    odd = [name for name in changed if "stats" not in name.split(".")]
    expect(not odd, f"it changed {odd[:3]}", "keep statistics in buffers of a module called `stats`")


def travelling(subject: PolicySubject) -> None:
    """Its weights survive a release, and the policy that acts by them does as the trained one would."""
    loaded = subject.apart(subject.policy.eval(), subject.holding(subject.policy.state_dict()))
    expect(loaded <= CLOSE, f"with its own weights loaded it acts {loaded:.1%} otherwise", "load them as they are")
    released = encode(subject.released(), BLOCKS)
    decoded = decode_tensors(released.tensors, released.result_hash, released.fetch, released.encoding(), None)
    weights = from_safetensors(to_safetensors(decoded))
    acting = subject.kind.acting(json.loads(json.dumps(subject.policy.config)), subject.policy.spec, weights)
    expect(acting.spec == subject.policy.spec, "it acts under another specification", "keep the one that it is given")
    rounded = subject.holding(tensors(weights))
    apart = subject.apart(rounded, acting)
    expect(
        apart <= CLOSE,
        f"their chunks are {apart:.1%} of the largest action apart",
        "load every tensor; act in eval mode",
    )


def kept_exact(subject: PolicySubject) -> None:
    """What a release rounds to bf16 is a network's weights: no statistic is among them."""
    state, released = subject.policy.state_dict(), tensors(subject.released())
    frozen = [name for name, item in subject.policy.named_parameters() if not item.requires_grad and item.ndim < 2]
    off = {name: float((released[name] - state[name].cpu()).abs().max()) for name in frozen if state[name].numel()}
    exact, rounded = subject.holding(state), subject.holding({**state, **{name: released[name] for name in frozen}})
    apart = subject.apart(exact, rounded)
    worst = sorted((name for name in off if off[name]), key=off.__getitem__, reverse=True)[:3]
    wrong = f"rounding {worst} moves its actions by {apart:.1%} of the largest"
    expect(apart <= CLOSE, wrong, "what does not train, and is no weight, belongs into buffers")


def being_copied(subject: PolicySubject) -> None:
    """A copy acts as it does: the learner keeps an average of it."""
    apart = subject.apart(subject.policy.eval(), copy.deepcopy(subject.policy))
    expect(apart <= CLOSE, f"a copy acts {apart:.1%} otherwise", "keep whatever it acts by in parameters and buffers")


def refusing_strangers(subject: PolicySubject) -> None:
    """Weights that lack a tensor are refused, not run."""
    weights = subject.released()
    name = next(iter(weights))
    del weights[name]
    try:
        acting = subject.kind.acting(subject.policy.config, subject.policy.spec, weights)
    except Exception:  # noqa: BLE001  (any refusal will do)
        return
    expect(acting is None, f"it acts without {name}", "load strictly; raise ReleaseInvalid")


CHECKS = (
    building,
    remembering_its_options,
    normalising,
    chunking,
    heeding_conditions,
    judging,
    being_copied,
    going_on,
    repeating,
    losing,
    training_in_full,
    each_for_itself,
    heeding_the_mask,
    travelling,
    kept_exact,
    refusing_strangers,
)


def _expect_chunk(chunk: Any, wanted: tuple[int, ...], under: str) -> None:
    expect(isinstance(chunk, np.ndarray), f"{under} gives a {type(chunk).__name__}", "return a numpy array")
    given = f"{under} gives {chunk.dtype}{list(chunk.shape)}"
    expect((chunk.shape, chunk.dtype.name) == (wanted, "float32"), given, f"return float32{list(wanted)}")
    expect(bool(np.isfinite(chunk).all()), f"{under} gives numbers that are not finite", "look at the network")
