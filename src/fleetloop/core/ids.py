"""ULIDs: ids that sort by the time they were made."""

import numpy as np
from ulid import ULID


def new_id(wall_s: float, rng: np.random.Generator) -> str:
    """A ULID from a Unix time in seconds and 80 bits of `rng`, so that a seeded run repeats its ids."""
    milliseconds = int(wall_s * 1000) & ((1 << 48) - 1)
    return str(ULID.from_bytes(milliseconds.to_bytes(6, "big") + rng.bytes(10)))


def is_name(text: str) -> bool:
    """Whether something may be called so that an address or a file is to name."""
    return text not in ("", ".", "..") and "/" not in text


def is_id(text: str) -> bool:
    """Whether `text` is a well-formed ULID."""
    try:
        return str(ULID.from_str(text)) == text
    except ValueError:
        return False
