"""What keeps a policy near its base while it learns, so that what it could before is not forgotten.

Added to the mean loss of a step, with w the trained weights and w_0 the base's:

    l2/2 · |w - w_0|²   +   kl · mean over the batch of the policy's distance to the base

The first is L2-SP (Li et al. 2018, arXiv 1802.01483). The second bounds what the policy does rather than what it is;
the policy says what its distance is (`HasDistance`), for few have a Kullback-Leibler divergence in closed form.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.policy import Batch
from fleetloop.learner.options import AnchorOptions


class Anchor:
    """Holds the base, as the policy was when this was made."""

    def __init__(self, policy: Any, options: AnchorOptions) -> None:
        """Raises ConfigInvalid for `kl` with a policy that has no `distance`."""
        if options.kl and not hasattr(policy, "distance"):
            raise ConfigInvalid(
                "learner.anchor.kl",
                f"needs a policy with the method `distance`; {type(policy).__name__} has none",
                "use learner.anchor.l2, or add the method (see `HasDistance` in core/policy.py)",
            )
        self._options = options
        self._base = copy.deepcopy(policy).eval().requires_grad_(False)

    def penalty(self, policy: Any, batch: Batch, rng: torch.Generator) -> Tensor:
        """(): what is added to the loss."""
        total = torch.zeros(())
        if self._options.l2:
            total = total + 0.5 * self._options.l2 * self._squared_distance(policy)
        if self._options.kl:
            total = total + self._options.kl * policy.distance(self._base, batch, rng=rng).mean()
        return total

    def _squared_distance(self, policy: Any) -> Tensor:
        """(): between the trained weights and the base's."""
        pairs = zip(policy.parameters(), self._base.parameters(), strict=True)
        squares = [(weight - start).square().sum() for weight, start in pairs if weight.requires_grad]
        return torch.stack(squares).sum()


def anchor_of(policy: Any, options: AnchorOptions) -> Anchor | None:
    """None where nothing is to be held."""
    return Anchor(policy, options) if options.l2 or options.kl else None
