"""Instructions and names as word embeddings.

An instruction's words and the names of the things in the scene share one embedding table, so that a match between
"milk" in a sentence and a thing called "milk" can be learned from a few examples; nothing matches them by rule.
"""

import re
import zlib
from functools import lru_cache

import torch
from torch import Tensor, nn

VOCABULARY = 1024  # hashed: a word that was never seen still gets an embedding of its own
MAX_WORDS = 16
_WORD = re.compile(r"[a-z0-9]+")


@lru_cache(maxsize=4096)
def word_ids(text: str) -> tuple[int, ...]:
    """The hashed ids (1 … VOCABULARY-1) of at most MAX_WORDS words; 0 is padding."""
    words = _WORD.findall(text.lower())[:MAX_WORDS]
    return tuple(1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in words)


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
