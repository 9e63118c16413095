"""The built-in small VLA: words and observation in, a chunk of actions out, by flow matching.

It predicts the clean chunk: for noise n, time t and target a, the network sees x = (1 - t) n + t a and answers with an
estimate of a; acting integrates dx/dt = (a_hat - x) / (1 - t) over a few Euler steps. That form learned best from
little in our trials; predicting the velocity did not. By default acting starts from the noise's centre: a fresh sample
for each chunk made robots waver between two ways (cloth, 900 demonstrations: .86 sampled, .94 from the centre).
"""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetloop.core.errors import SpecMismatch
from fleetloop.core.frame import FloatArray, Observation
from fleetloop.core.policy import Batch
from fleetloop.core.spec import CameraSpec, PolicySpec, RobotSpec
from fleetloop.policies.action_frames import GripperFrame, action_frame
from fleetloop.policies.critic import FlowCritic
from fleetloop.policies.encoder import Encoded, Encoder, tensors_of
from fleetloop.policies.flow_options import CONDITIONS, FREQUENCIES, POSITION_SCALE, TIME_FREQUENCIES, FlowOptions
from fleetloop.policies.grounding import grounding_loss
from fleetloop.policies.guidance import condition_rows, guided
from fleetloop.policies.scene_fields import POSITION, YAW, has_grippers
from fleetloop.policies.sight_options import SightOptions
from fleetloop.policies.weights import load_weights
from fleetloop.policies.words import padded_ids

SIGHT = "sight"  # in a policy's configuration, beside its options: what its frozen eyes know


class Lead(NamedTuple):
    """What the trunk knows before the flow, and computes once for all Euler steps."""

    projected: Tensor  # (B, width): the first layer's share
    modulation: Tensor  # (depth, B, 2 width): how the condition scales and shifts each block


class Block(nn.Module):
    """A linear map, a norm that the condition scales and shifts (FiLM, Perez et al. 2018), SiLU.

    As an input beside a hundred others the condition was hardly heard: positive and negative chunks stayed alike
    (docs/concepts/algorithms.md has the figures).
    """

    def __init__(self, linear: nn.Module, width: int) -> None:
        super().__init__()
        self.linear, self.norm = linear, nn.LayerNorm(width)

    def forward(self, hidden: Tensor, modulation: Tensor) -> Tensor:
        scale, shift = modulation.chunk(2, -1)
        return nn.functional.silu(self.norm(self.linear(hidden)) * (1 + scale) + shift)


class Trunk(nn.Module):
    """An MLP whose first layer is a sum of three: no gradient flows into what was measured, and what stays the same
    between Euler steps is projected once."""

    def __init__(self, *, measured: int, learned: int, flow: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.measured = nn.Linear(measured, width)
        with torch.no_grad():
            self.measured.weight[:, -len(CONDITIONS) :] = 0  # untrained, a condition changes nothing
        self.learned = nn.Linear(learned, width, bias=False)
        self.flow = nn.Linear(flow, width, bias=False)
        first = Block(nn.Identity(), width)
        self.blocks = nn.ModuleList([first, *(Block(nn.Linear(width, width), width) for _ in range(depth - 1))])
        self.modulation = nn.Parameter(torch.zeros(depth, len(CONDITIONS), 2 * width))  # untrained, it changes nothing
        self.out = nn.Linear(width, outputs)

    def lead(self, encoded: Encoded, condition: Tensor) -> Lead:
        """What does not depend on the flow; `condition` is (B, conditions)."""
        projected: Tensor = self.measured(torch.cat([encoded.measured, condition], 1)) + self.learned(encoded.learned)
        return Lead(projected, condition @ self.modulation)

    def forward(self, lead: Lead, flow: Tensor) -> Tensor:
        hidden = lead.projected + self.flow(flow)
        for block, modulation in zip(self.blocks, lead.modulation, strict=True):
            hidden = block(hidden, modulation)
        out: Tensor = self.out(hidden)
        return out


class FlowPolicy(nn.Module):
    """The policy. Make a fresh one with `build`.

    Attributes:
        spec: what it consumes and emits.
        config: its options as JSON.
        conditions: what it can be conditioned on.
    """

    Options: ClassVar[type[FlowOptions]] = FlowOptions
    conditions: ClassVar[frozenset[str]] = frozenset(CONDITIONS)
    name: ClassVar[str] = "flow"

    def __init__(self, options: FlowOptions, spec: PolicySpec, sight: SightOptions | None = None) -> None:
        super().__init__()
        self.options, self.spec = options, spec
        self.config: dict[str, Any] = options.model_dump(mode="json")
        if sight is not None:
            self.config[SIGHT] = sight.model_dump(mode="json")
        hands = next((feature for feature in spec.inputs if feature.name == "hands"), None)
        self.frame = action_frame(hands, spec.action)
        self.encoder = Encoder(spec, options.words, options.pointers, sight)
        size = options.horizon * spec.action.shape[0]
        hands_count = hands.shape[0] if hands else 0
        tied = self.encoder.anchors and isinstance(self.frame, GripperFrame)  # other actions are no places
        self._gates = hands_count * (self.encoder.anchors + 1) if tied else 0
        self.trunk = Trunk(
            measured=self.encoder.measured_width + len(CONDITIONS),
            learned=self.encoder.learned_width,
            flow=size + 2 * TIME_FREQUENCIES,
            outputs=size + self._gates,
            width=options.width,
            depth=options.depth,
        )
        self._beta = 1.0
        self.register_buffer("frequencies", torch.tensor(FREQUENCIES), persistent=False)

    frequencies: Tensor

    @classmethod
    def build(cls, config: Mapping[str, Any], robot: RobotSpec) -> "FlowPolicy":
        """A fresh policy for this robot.

        With `observe: images` it sees the cameras and the grippers, and none of the simulator's entities; with
        the entry `sight` besides, through frozen eyes whose weights are still to be loaded (see `plugin.py`).

        Raises:
            SpecMismatch: if the robot's action is no flat vector, or it shows no feature, camera or gripper where one
                is needed.
        """
        options, sight = _parsed(config)
        if len(robot.action.shape) != 1:
            raise SpecMismatch("action", f"has the shape {list(robot.action.shape)}", "the flow policy needs one axis")
        inputs = tuple(feature for feature in robot.state if not feature.label)
        if not inputs:
            remedy = "let the robot measure something besides its pictures, or choose another policy"
            raise SpecMismatch("state", "the robot has no feature, and the flow policy needs one at least", remedy)
        cameras: tuple[CameraSpec, ...] = ()
        if options.observe == "images":
            if not robot.cameras:
                raise SpecMismatch("cameras", "the robot shows none", "use `observe: state` or add a camera")
            px = options.image_px
            cameras = tuple(CameraSpec(camera.name, px, px) for camera in robot.cameras)
            inputs = tuple(feature for feature in inputs if feature.name == "hands") or inputs
        if sight is not None and not any(has_grippers(feature) for feature in inputs if feature.name == "hands"):
            fields = ", ".join((*POSITION, *YAW))
            remedy = "set directories.encoder to null: the policy then learns to see by itself"
            raise SpecMismatch("hands", f"the encoder needs (n, …) grippers with the fields {fields}", remedy)
        spec = PolicySpec(inputs, robot.action, options.horizon, options.execute, robot.control_hz, cameras)
        policy = cls(options, spec, sight)
        if policy.encoder.sight is not None:
            policy.encoder.sight.robot_says(next((item.categories for item in robot.state if item.name == "names"), ()))
        return policy

    @classmethod
    def acting(
        cls, config: Mapping[str, Any], spec: PolicySpec, weights: Mapping[str, npt.NDArray[Any]]
    ) -> "FlowPolicy":
        """The policy of a release, ready to act."""
        options, sight = _parsed(config)
        policy = cls(options, spec, sight)
        load_weights(policy, weights)
        return policy.eval()

    # ------------------------------------------------------------------ training

    def critic(self, bins: int) -> FlowCritic:
        """A value network that observes as this policy does now; see core's HasCritic."""
        return FlowCritic(self.encoder, self.spec, width=self.options.width, bins=bins)

    def fit_statistics(self, batch: Batch) -> None:
        """Fit the normalisation to a large batch; once, before training."""
        self.encoder.fit(self._observed(batch)[0])
        self.frame.fit(torch.from_numpy(batch.actions))

    def loss(self, batch: Batch, *, rng: torch.Generator) -> Tensor:
        """(B,): mean absolute error of the predicted clean chunk where the mask is 1, plus the grounding loss."""
        state, images = self._observed(batch)
        clean, target, encoded = self._predicted(batch, state, images, rng)
        mask = torch.from_numpy(batch.mask)
        error = ((clean - target).abs().mean(-1) * mask).sum(-1) / mask.sum(-1).clamp(min=1)
        if self.options.grounding_weight and encoded.log_pointers is not None and "named" in state:
            return error + self.options.grounding_weight * grounding_loss(encoded.log_pointers, state["named"])
        return error

    def distance(self, other: "FlowPolicy", batch: Batch, *, rng: torch.Generator) -> Tensor:
        """(B,): mean squared distance of the clean chunks that both predict from the same noise at the same time,
        where the mask is 1.

        A flow has no KL divergence in closed form. This stands in for it: both flows start from the same noise, and
        where their estimates agree at every time, so do the actions that they lead to.
        """
        state, images = self._observed(batch)
        noise = rng.get_state()
        ours, _, _ = self._predicted(batch, state, images, rng)
        with torch.no_grad():
            theirs, _, _ = other._predicted(batch, state, images, rng.set_state(noise))
        mask = torch.from_numpy(batch.mask)
        return ((ours - theirs).square().mean(-1) * mask).sum(-1) / mask.sum(-1).clamp(min=1)

    def features(
        self, recorded: Mapping[str, npt.NDArray[Any]], images: Mapping[str, npt.NDArray[np.uint8]]
    ) -> Mapping[str, npt.NDArray[Any]]:
        """What frozen eyes find in n frames, (n, …) each; the images as they are where the eyes are learned.

        See core's HasFeatures.
        """
        return self.encoder.features(recorded, images)

    def _observed(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """State, and images that are still to be looked at."""
        state, seen = tensors_of(batch.state), tensors_of(batch.seen)
        return ({**state, **seen}, {}) if self.encoder.sight else (state, seen)

    def _predicted(
        self, batch: Batch, state: dict[str, Tensor], images: dict[str, Tensor], rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Encoded]:
        """(B, H, A) the clean chunk as estimated from noise and a time drawn with `rng`; the target; what was seen."""
        target = self.frame.encode(torch.from_numpy(batch.actions), state)
        noise = torch.randn(target.shape, generator=rng)
        time = torch.rand(len(target), generator=rng) ** 2  # dense near pure noise, where the choice is made
        mixed = torch.lerp(noise, target, time[:, None, None])
        encoded = self.encoder(state, images, padded_ids(batch.instructions), torch.from_numpy(batch.instruction))
        condition = torch.zeros(len(target), len(CONDITIONS))
        indicator = torch.from_numpy(batch.indicator).long()
        condition[indicator >= 0, indicator[indicator >= 0]] = 1
        return self._clean(encoded, self.trunk.lead(encoded, condition), mixed, time), target, encoded

    def _clean(self, encoded: Encoded, lead: Lead, mixed: Tensor, time: Tensor) -> Tensor:
        """The network's estimate of the clean chunk, (B, H, A)."""
        phases = time[:, None] * self.frequencies
        flow = torch.cat([mixed.flatten(1), torch.sin(phases), torch.cos(phases)], 1)
        out: Tensor = self.trunk(lead, flow)
        clean = out[:, : mixed[0].numel()].view(mixed.shape)
        if not self._gates or encoded.anchors is None or encoded.anchor_mask is None:
            return clean
        return clean + self._anchored(out[:, mixed[0].numel() :], encoded.anchors, encoded.anchor_mask)

    def _anchored(self, logits: Tensor, anchors: Tensor, mask: Tensor) -> Tensor:
        """(B, 1, A): the set-points' shift towards the places that the gates choose; "stay with the gripper" is one.

        "Go to that thing" is then one decision instead of a sum of many features, and exact however near it is.
        """
        batch, hands, places, _ = anchors.shape
        usable = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)[:, None]
        gates = torch.softmax(logits.view(batch, hands, places + 1).masked_fill(usable < 0.5, -1e4), -1)
        shift = torch.einsum("bhp,bhpx->bhx", gates[..., :places], anchors) / POSITION_SCALE
        return nn.functional.pad(shift, (0, 2)).flatten(1)[:, None]

    # ------------------------------------------------------------------ acting

    def guided(self, beta: float) -> "FlowPolicy":
        """The same policy, with the same weights, to which a condition counts `beta` times; see `guidance.py`."""
        twin = copy.copy(self)
        twin._beta = beta
        return twin

    @torch.no_grad()
    def chunk(
        self,
        observation: Observation,
        instruction: str,
        condition: str | None = None,
        *,
        rng: np.random.Generator,
        prefix: FloatArray | None = None,
        delay: int = 0,
    ) -> FloatArray:
        """(H, A) float32 in the robot's units; `condition` is `positive`, `negative` or None."""
        state = tensors_of({feature.name: observation.state[feature.name][None] for feature in self.spec.inputs})
        images = self.encoder.prepare(observation.images)
        encoded = self.encoder(state, images, padded_ids((instruction,)), torch.zeros(1, dtype=torch.int64))
        rows = condition_rows(condition, self._beta)
        passes = [self.trunk.lead(encoded, torch.from_numpy(row)[None]) for row in rows]
        shape = (1, self.options.horizon, self.spec.action.shape[0])
        mixed = self.options.temperature * torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        steps = self.options.flow_steps
        for step in range(steps):
            share = 1 / (steps - step)  # of the way to the clean chunk
            at = partial(self._clean, encoded, mixed=mixed, time=torch.full((1,), step / steps))
            mixed = mixed + share * (guided(at, passes, self._beta) - mixed)
        return self.frame.decode(mixed, state)[0].numpy()


def _parsed(config: Mapping[str, Any]) -> tuple[FlowOptions, SightOptions | None]:
    sight = config.get(SIGHT)
    options = FlowOptions(**{name: value for name, value in config.items() if name != SIGHT})
    return options, None if sight is None else SightOptions.model_validate(sight)
