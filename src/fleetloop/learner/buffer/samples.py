"""What is known of every sample beside its payload: where it comes from, its weight, how often it was drawn."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import Array
from fleetloop.learner.buffer.columns import Column

Ids = npt.NDArray[np.int32]
FACTS = np.dtype(
    [
        ("episode", np.int32),  # its number in the buffer's table
        ("frame", np.int32),
        ("release", np.int32),  # that the frame was recorded under
        ("targets", np.uint16),  # actions before the target ends, at most the horizon
        ("indicator", np.int8),
        ("human", np.bool_),
    ]
)


class Samples:
    """Columns over all samples that were ever admitted, mapped onto files where there is a `scratch` directory.

    Attributes:
        facts: (n,) FACTS; weight: (n,) float32; draws: (n,) int32.
        changes: counted up by the pools with whatever may alter a draw or a batch.
    """

    def __init__(self, scratch: Path | None) -> None:
        self.changes = 0
        self._facts, self._weight, self._draws = (
            Column((), dtype, scratch / f"{name}.samples" if scratch else None)
            for name, dtype in (("facts", FACTS), ("weight", np.float32), ("draws", np.int32))
        )

    def __len__(self) -> int:
        return len(self._draws)

    @property
    def facts(self) -> Array:
        return self._facts.rows

    @property
    def weight(self) -> npt.NDArray[np.float32]:
        return self._weight.rows

    @property
    def draws(self) -> Ids:
        return self._draws.rows

    def extend(self, facts: Array, weight: npt.NDArray[np.float32], draws: Ids) -> None:
        """Append n samples."""
        self._facts.extend(facts)
        self._weight.extend(weight)
        self._draws.extend(draws)


def distinct(numbers: npt.NDArray[np.int32]) -> tuple[list[int], npt.NDArray[np.intp]]:
    """The (n,) numbers, each once and in order, and the place of each one among these. They are few and small."""
    (found,) = np.bincount(numbers).nonzero()
    return found.tolist(), found.searchsorted(numbers)
