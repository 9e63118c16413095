"""From words to things: attention from the instruction to the entities, learned from demonstrations.

Each head scores every entity by a bilinear form of the instruction's and the entity's word embeddings, plus what the
instruction makes of how the entity relates to the others (`namesake.py`) and how near a gripper is. That second share
sees three numbers and no poses: given whole rows it learned the demonstrations by heart.

Where a robot records what its instruction means (simulation does), an auxiliary loss says which entity a head should
point at; without such labels the heads learn from the actions alone.
"""

import torch
from torch import Tensor, nn

from fleetloop.policies.namesake import Namesake
from fleetloop.policies.words import Words, padded_ids

RELATIONS = 3  # distance to the namesake, whether there is one, distance to the nearest gripper
HIDDEN = 16


class Grounding(nn.Module):
    """`heads` soft pointers into the entities.

    Args:
        categories: the words that the values of the `names` feature stand for.
    """

    def __init__(self, width: int, heads: int, categories: tuple[str, ...]) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, heads * width, bias=False)
        self.key = nn.Linear(width, heads * width, bias=False)
        self.namesake = Namesake(width)
        self.related = nn.Linear(RELATIONS, HIDDEN)
        self.asked = nn.Linear(width, HIDDEN, bias=False)
        self.meant = nn.Linear(HIDDEN, heads, bias=False)
        nn.init.zeros_(self.meant.weight)
        self.register_buffer("category_ids", padded_ids(categories), persistent=False)

    def forward(
        self,
        words: Words,
        sentence: Tensor,
        instruction: Tensor,
        names: Tensor,
        mask: Tensor,
        *,
        positions: Tensor,
        near: Tensor,
    ) -> Tensor:
        """Log-probabilities, (B, heads, E).

        (I, width) sentences, (B,) their index, (B, E, parts) names, (B, E) mask, (B, E, 3) metres, and (B, E, 1) the
        squashed distance to the nearest gripper.
        """
        categories = words(self.category_ids)
        batch, entities, parts = names.shape
        # A product with counts, for the gradient of a look-up in a small table is slow.
        flat = names.reshape(batch * entities, parts).long()
        counts = torch.zeros(len(flat), len(categories)).scatter_add_(1, flat, torch.ones(flat.shape))
        called = (counts @ categories).view(batch, entities, -1)
        keys = self.key(categories).view(-1, self.heads, sentence.shape[-1])
        queries = self.query(sentence).view(-1, self.heads, sentence.shape[-1])
        scores = torch.einsum("ihd,chd->ihc", queries, keys)[instruction]  # (B, heads, C)
        by_name = torch.bmm(scores, counts.view(batch, entities, -1).transpose(1, 2))
        relations = torch.cat([self.namesake(called, positions, mask), near], -1)
        hidden = nn.functional.silu(self.related(relations) + self.asked(sentence)[instruction][:, None])
        logits = by_name + self.meant(hidden).transpose(1, 2)
        return torch.log_softmax(logits.masked_fill(mask[:, None] < 0.5, -1e4), dim=-1)


def grounding_loss(log_pointers: Tensor, named: Tensor) -> Tensor:
    """(B,): how unlikely head h finds what the label calls h + 1; 0 where nothing is called so."""
    loss = torch.zeros(len(named))
    for head in range(log_pointers.shape[1]):
        target = named == head + 1
        found = torch.logsumexp(log_pointers[:, head].masked_fill(~target, -torch.inf), dim=-1)
        loss = loss + torch.where(target.any(dim=-1), -found, 0.0)
    return loss
