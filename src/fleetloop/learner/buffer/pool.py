"""The samples of one part of one task that may be drawn."""

import numpy as np
import numpy.typing as npt

from fleetloop.core.frame import Array
from fleetloop.learner.buffer.columns import Column
from fleetloop.learner.buffer.samples import Ids, Samples

SPAN = 256
AT_ONCE = 4096  # spans that are weighed in one go
_SPAN = np.dtype(
    [
        ("first", np.int64),
        ("count", np.int32),
        ("on", np.bool_),
        ("plain", np.bool_),  # every one of its samples may be drawn, with weight 1
        ("size", np.int32),  # samples that may be drawn
        ("known", np.int32),  # those of them that have an indicator
        ("positive", np.int32),  # those of them whose indicator is positive
        ("mass", np.float64),  # the sum of their weights
    ]
)
_NOT_WEIGHED = (False, 0, 0, 0, 0.0)  # what is found out when a span is weighed


class Pool:
    """Spans of consecutive samples in order of admission, each sample drawn as often as its weight says.

    A span has at most SPAN samples, all of one episode; memory and the cost of a change go by spans. What changes is
    weighed when it is next asked for, all at once.

    Args:
        samples: all that there are; after a change of weights, draws or indicators, `weigh` the spans that hold them.
        most_draws: after which a sample is used up; None for never.
    """

    def __init__(self, samples: Samples, most_draws: int | None) -> None:
        self._version = 0
        self._samples, self._most_draws = samples, most_draws
        self._spans = Column((), _SPAN)
        self._weighed = 0  # spans up to here, but for those in `_changed`
        self._changed: list[slice] = []
        self._edges = np.empty(0)  # running sum of the masses
        self._plain = True  # each sample that can be drawn has weight 1, in spans of nothing else
        self._starts = np.empty(
            0, np.int64
        )  # then sample number n of what may be drawn is `_starts` of its span, plus n
        self._size = 0
        self._ids: Ids | None = None

    def __len__(self) -> int:
        self._settle()
        return self._size

    @property
    def ids(self) -> Ids:
        """(n,) int32, in order of admission."""
        self._settle()
        if self._ids is None:
            held = self._spans.rows[self._spans.rows["on"]]
            first, count = held["first"], held["count"].astype(np.int64)
            before = np.cumsum(count) - count
            every = np.repeat(first - before, count) + np.arange(int(count.sum()))
            self._ids = every[self._usable(every)].astype(np.int32)
        return self._ids

    @property
    def mass(self) -> float:
        """The weights' sum: with 0, nothing can be drawn."""
        self._settle()
        return float(self._edges[-1]) if len(self._edges) else 0.0

    @property
    def version(self) -> int:
        """Another one whenever `pick` may pick otherwise."""
        self._settle()
        return self._version

    @property
    def positives(self) -> float | None:
        """The share of positive samples among those that have an indicator; None if none has."""
        self._settle()
        known = int(self._spans.rows["known"].sum())
        return int(self._spans.rows["positive"].sum()) / known if known else None

    def pick(self, u: npt.NDArray[np.float64]) -> Ids:
        """(n,) numbers in [0, 1) as samples; the mass must not be 0."""
        self._settle()
        edges = self._edges
        target = np.minimum(u * edges[-1], np.nextafter(edges[-1], 0))  # a product may round up
        places = edges.searchsorted(target, side="right")
        if self._plain:
            plain: Ids = (self._starts[places] + target.astype(np.int64)).astype(np.int32)
            return plain
        spans = self._spans.rows.take(places)
        rest = target - (edges[places] - spans["mass"])
        within = np.minimum(rest.astype(np.int64), spans["count"] - 1)
        odd = np.flatnonzero(~spans["plain"])
        sums = np.cumsum(self._weights(spans[odd]), axis=1)
        below = np.minimum(rest[odd], np.nextafter(sums[:, -1], 0)) if len(odd) else rest[odd]
        within[odd] = (sums <= below[:, None]).sum(axis=1)
        picked: Ids = (spans["first"] + within).astype(np.int32)
        return picked

    def extend(self, first: int, last: int) -> slice:
        """Append samples [first, last); returns their spans."""
        before = len(self._spans)
        for start in range(first, last, SPAN):
            self._spans.append((start, min(last - start, SPAN), True, *_NOT_WEIGHED))
        self._samples.changes += 1
        return slice(before, len(self._spans))

    def switch(self, spans: slice, on: bool) -> None:
        """Let these be drawn, or not."""
        self._spans.rows["on"][spans] = on
        self.weigh(spans)

    def weigh(self, spans: slice | None = None) -> None:
        """Look again at what may be drawn of these, or of all, and how often: before the next draw, all at once."""
        self._samples.changes += 1
        if spans is None:
            self._weighed, self._changed = 0, []
        elif spans.start < self._weighed:
            self._changed.append(spans)

    def _settle(self) -> None:
        if self._weighed == len(self._spans) and not self._changed:
            return
        for spans in self._changed:
            self._weigh(self._spans.rows[spans])
        for start in range(self._weighed, len(self._spans), AT_ONCE):
            self._weigh(self._spans.rows[start : start + AT_ONCE])
        self._weighed, self._changed, self._ids = len(self._spans), [], None
        self._version += 1
        rows = self._spans.rows
        self._edges, self._size = np.cumsum(rows["mass"]), int(rows["size"].sum())
        self._plain = bool((rows["plain"] | (rows["mass"] == 0)).all())
        self._starts = rows["first"] - (self._edges - rows["mass"]).astype(np.int64)

    def _weigh(self, rows: Array) -> None:
        ids, inside = _every(rows)
        usable = inside & self._usable(ids) & rows["on"][:, None]
        weights = np.where(usable, self._samples.weight[ids], 0.0)
        indicator = np.where(usable, self._samples.facts["indicator"][ids], -1)
        rows["size"], rows["mass"] = usable.sum(axis=1), weights.sum(axis=1, dtype=np.float64)
        rows["plain"] = (rows["size"] == rows["count"]) & (weights == inside).all(axis=1)
        rows["known"], rows["positive"] = (indicator >= 0).sum(axis=1), (indicator > 0).sum(axis=1)

    def _weights(self, rows: Array) -> npt.NDArray[np.float64]:
        """(spans, longest) float64, 0 for what can't be drawn."""
        ids, inside = _every(rows)
        return np.where(inside & self._usable(ids), self._samples.weight[ids], 0.0).astype(np.float64)

    def _usable(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        if self._most_draws is None:
            return np.ones(ids.shape, bool)
        usable: npt.NDArray[np.bool_] = self._samples.draws[ids] < self._most_draws
        return usable


def _every(rows: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """(spans, longest) the samples of these spans, and which of the entries are any; the others repeat the first."""
    offsets = np.arange(int(rows["count"].max(initial=0)))
    inside = offsets < rows["count"][:, None]
    return rows["first"][:, None] + offsets * inside, inside
