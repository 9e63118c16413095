"""Who is called alike: for every entity, the other entities that share its name, and how far away those are.

An instruction may name nothing ("put the misplaced item back"). What it means then follows from how the names and
places of the entities relate: an item far from the shelf that is labelled as it is. Attention between names finds such
pairs (Vaswani et al. 2017, over things in place of words); which words count for it, and what an instruction makes
of a pair, is learned.
"""

import torch
from torch import Tensor, nn

from fleetloop.policies.flow_options import POSITION_SCALE
from fleetloop.policies.scene_fields import MOST_ALIKE, TINY


class Namesake(nn.Module):
    """Attention from each entity's name to the names of the others, or to nobody's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.key.weight)  # untrained, names are as alike as their embeddings
        self.nobody = nn.Parameter(torch.tensor(1.0))

    def forward(self, called: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, E, width) name embeddings, (B, E, 3) metres, (B, E) mask -> (B, E, 2).

        The distance to the namesake (tanh, in POSITION_SCALE) and how sure it is that there is one, 0 to 1.
        """
        keys = self.key(called)
        alike = torch.bmm(keys, keys.transpose(1, 2)) / keys.shape[-1] ** 0.5
        others = mask[:, None] * (1 - torch.eye(mask.shape[1]))
        weight = torch.exp(alike.clamp(max=MOST_ALIKE)) * others
        share = weight / (weight.sum(-1, keepdim=True) + self.nobody.exp())
        sure = share.sum(-1, keepdim=True)
        offset = torch.bmm(share, positions) - sure * positions
        return torch.cat([squashed_length(offset), sure], -1)


def squashed_length(offset: Tensor) -> Tensor:
    """(…, 3) metres -> (…, 1): the length, squashed by tanh at POSITION_SCALE."""
    return torch.tanh((offset.square().sum(-1, keepdim=True) + TINY).sqrt() / POSITION_SCALE)
