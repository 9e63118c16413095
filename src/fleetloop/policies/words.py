"""Instructions and names as word embeddings.

An instruction's words and the names of the things in the scene share one embedding table, so that a match between
"milk" in a sentence and a thing called "milk" can be learned from a few examples; nothing matches them by rule.
"""

import torch
from torch import Tensor, nn

from fleetloop.policies.vocabulary import VOCABULARY, word_ids


def padded_ids(texts: tuple[str, ...]) -> Tensor:
    """(len(texts), W) int64, padded with 0 to the longest text."""
    rows = [word_ids(text) for text in texts]
    ids = torch.zeros(len(rows), max((len(row) for row in rows), default=1) or 1, dtype=torch.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return ids


class Words(nn.Module):
    """Sums of word embeddings."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(VOCABULARY, width, mode="sum", padding_idx=0)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, W) int64 -> (N, width)."""
        summed: Tensor = self.embedding(ids)
        return summed
