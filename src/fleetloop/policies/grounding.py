"""From words to things: attention from the instruction to the entities, learned from demonstrations.

Each head scores every entity by a bilinear form of the instruction's and the entity's word embeddings. Where a robot
records what its instruction names (simulation does), an auxiliary loss says which entity a head should point at;
without such labels the heads learn from the actions alone.
"""

import torch
from torch import Tensor, nn

from fleetloop.policies.words import Words, padded_ids


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
        self.register_buffer("category_ids", padded_ids(categories), persistent=False)

    def forward(self, words: Words, sentence: Tensor, instruction: Tensor, names: Tensor, mask: Tensor) -> Tensor:
        """(I, width) sentences, (B,) their index, (B, E, 2) names, (B, E) mask -> (B, heads, E) log-probabilities."""
        keys = self.key(words(self.category_ids)).view(-1, self.heads, sentence.shape[-1])
        queries = self.query(sentence).view(-1, self.heads, sentence.shape[-1])
        scores = torch.einsum("ihd,chd->ihc", queries, keys)[instruction]  # (B, heads, C)
        batch, entities, parts = names.shape
        index = names.reshape(batch, 1, entities * parts).expand(-1, self.heads, -1).long()
        per_name = scores.gather(2, index).view(batch, self.heads, entities, parts)
        logits = per_name.sum(-1).masked_fill(mask[:, None] < 0.5, -1e4)
        return torch.log_softmax(logits, dim=-1)


def grounding_loss(log_pointers: Tensor, named: Tensor) -> Tensor:
    """(B,): how unlikely head h finds what the label calls h + 1; 0 where nothing is called so."""
    loss = torch.zeros(len(named))
    for head in range(log_pointers.shape[1]):
        target = named == head + 1
        found = torch.logsumexp(log_pointers[:, head].masked_fill(~target, -torch.inf), dim=-1)
        loss = loss + torch.where(target.any(dim=-1), -found, 0.0)
    return loss
