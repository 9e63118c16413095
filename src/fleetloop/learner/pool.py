"""The samples of one part of one task that may be drawn."""

import numpy as np
import numpy.typing as npt

from fleetloop.learner.columns import Column

Ids = npt.NDArray[np.int32]


class Pool:
    """Samples in order of admission, each drawn as often as its weight says.

    Args:
        weight: of every sample that there is, shared by all pools; after a change of it, `reweigh`.
    """

    def __init__(self, weight: Column) -> None:
        self._ids, self._weight = Column((), np.int32), weight
        self._edges: npt.NDArray[np.float64] | None = None  # running sum of the weights; None after a change

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> Ids:
        """(n,) int32."""
        return self._ids.rows

    @property
    def mass(self) -> float:
        """The weights' sum: with 0, nothing can be drawn."""
        return float(self._sums()[-1]) if len(self) else 0.0

    def pick(self, u: npt.NDArray[np.float64]) -> Ids:
        """(n,) numbers in [0, 1) as samples; the mass must not be 0."""
        edges = self._sums()
        places = np.searchsorted(edges, u * edges[-1], side="right")
        picked: Ids = self.ids[np.minimum(places, np.searchsorted(edges, edges[-1]))]  # a product may round up
        return picked

    def extend(self, ids: npt.ArrayLike) -> None:
        """Append these."""
        self._ids.extend(ids)
        self.reweigh()

    def keep(self, wanted: npt.NDArray[np.bool_]) -> None:
        """Drop those for which `wanted` is False."""
        self._ids.keep(wanted)
        self.reweigh()

    def reweigh(self) -> None:
        """Weights of these samples have changed."""
        self._edges = None

    def _sums(self) -> npt.NDArray[np.float64]:
        if self._edges is None:
            self._edges = np.cumsum(self._weight.rows[self.ids], dtype=np.float64)
        return self._edges
