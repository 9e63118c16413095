"""Words as numbers, without torch."""

import re
import zlib
from functools import lru_cache

VOCABULARY = 1024  # hashed: a word that was never seen still gets an embedding of its own
MAX_WORDS = 16
_WORD = re.compile(r"[^\W_]+")  # of any script


@lru_cache(maxsize=4096)
def word_ids(text: str) -> tuple[int, ...]:
    """The hashed ids (1 … VOCABULARY-1) of at most MAX_WORDS words; 0 is padding."""
    words = _WORD.findall(text.lower())[:MAX_WORDS]
    return tuple(1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in words)
