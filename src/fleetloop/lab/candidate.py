"""A policy that is to be measured, in a form that another process can be sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.hub import Hub
from fleetloop.core.plugins import plugin
from fleetloop.core.policy import ActingPolicy
from fleetloop.core.spec import PolicySpec
from fleetloop.weights.codec import from_safetensors, to_safetensors
from fleetloop.weights.route import obtain


@dataclass(frozen=True)
class Candidate:
    """Weights with all that is needed to act by them.

    Attributes:
        label: for people, e.g. `release 12`.
        name, config: the policy's plug-in and its configuration.
        weights: safetensors bytes.
        release: the version, where it is one; else 0.
        condition: what it acts on unless told otherwise; empty for nothing. guidance: how much of that.
        conditions: what it was trained to act on; None where nobody has said, as for a base.
    """

    label: str
    name: str
    config: Mapping[str, Any]
    spec: PolicySpec
    weights: bytes
    release: int = 0
    condition: str = ""
    guidance: float = 1.0
    conditions: tuple[str, ...] | None = None

    def acting(self) -> ActingPolicy:
        """Raises ReleaseInvalid if the weights are not this policy's, ConfigInvalid if it can't be guided."""
        weights = from_safetensors(self.weights)
        policy: ActingPolicy = plugin("policies", self.name).acting(self.config, self.spec, weights)
        if self.guidance == 1:
            return policy
        if not hasattr(policy, "guided"):
            raise ConfigInvalid("guidance", f"the policy {self.name!r} offers none", "leave it at 1")
        return policy.guided(self.guidance)  # type: ignore[no-any-return]

    def acts_on(self, told: str | None) -> str | None:
        """What it is conditioned on where `actor.condition` is `told`: None for nothing.

        Raises ConfigInvalid for a condition that it was never trained under, as a robot refuses its release then.
        """
        condition = (self.condition if told is None else told) or None
        if condition and self.conditions is not None and condition not in self.conditions:
            known = ", ".join(self.conditions) or "none"
            raise ConfigInvalid("condition", f"{self.label} was not trained under {condition!r}", f"it knows: {known}")
        return condition

    @property
    def image_px(self) -> int:
        """The edge of the images that it sees; 0 if it sees none."""
        return max((camera.height for camera in self.spec.cameras), default=0)


def from_base(directory: Path) -> Candidate:
    """Raises BaseInvalid."""
    from fleetloop.learner.base import load_base
    from fleetloop.learner.export import exact_weights

    base = load_base(directory)
    weights = to_safetensors(exact_weights(base.policy.state_dict()))
    return Candidate(f"base {directory}", base.name, dict(base.policy.config), base.policy.spec, weights)


def from_release(hub: Hub, version: int) -> Candidate:
    """Fetch and verify. Raises HubRefused, HubUnavailable, ReleaseInvalid."""
    release = hub.release(version)
    weights = to_safetensors(obtain(release, hub).weights)
    name, config = release.policy["name"], release.policy["config"]
    label, spec = f"release {version}", release.policy_spec()
    return Candidate(label, name, config, spec, weights, version, release.condition, conditions=release.conditions)


def from_checkpoint(path: Path, base_directory: Path) -> Candidate:
    """The averaged weights of a learner's checkpoint (`…/checkpoints/step-…`); the base says what they belong to.

    Raises:
        CheckpointInvalid, BaseInvalid, UnknownName (the checkpoint's algorithm).
        ConfigInvalid: if the checkpoint is not of a run that started from this base.
    """
    from fleetloop.learner.base import load_base
    from fleetloop.learner.checkpoint import load
    from fleetloop.learner.export import config_hash

    checkpoint, base = load(path), load_base(base_directory)
    if checkpoint.config_hash != config_hash(base.policy.config):
        raise ConfigInvalid("--base", f"{base_directory} is another policy than {path}'s", "name the run's own base")
    prefix = "trainer.average."
    arrays = {name.removeprefix(prefix): array for name, array in checkpoint.arrays.items() if name.startswith(prefix)}
    label = f"checkpoint at step {checkpoint.step}"
    config, weights = dict(base.policy.config), to_safetensors(arrays)
    algorithm, spec = plugin("algorithms", checkpoint.algorithm_name), base.policy.spec
    conditions = tuple(sorted(algorithm.conditions))
    return Candidate(label, base.name, config, spec, weights, condition=algorithm.condition, conditions=conditions)
