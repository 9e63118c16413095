"""Which of the episodes that are held may be drawn from: the filters, applied again whenever something changes."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fleetloop.learner.buffer.filters import Filter, counts
from fleetloop.learner.buffer.pool import Pool
from fleetloop.learner.buffer.table import TRAINS, Part, Table
from fleetloop.learner.options import FiltersOptions

Pools = Sequence[tuple[Pool, Pool, Pool]]
"""By task, then by Part."""


class Selection:
    """Switches the spans of episodes on and off in their pools."""

    def __init__(self, table: Table, pools: Pools, options: FiltersOptions) -> None:
        offline = Filter(options.offline)
        self._filters = (offline, Filter(options.online, options.online.most_staleness), offline)  # by Part
        self._table, self._pools, self._release = table, pools, 0

    def admit(self, number: int, part: Part) -> None:
        """A new episode, whose spans are on."""
        if not self._filters[part].idle:
            self._judge(np.array([number]))

    def retire(self, number: int) -> None:
        """This row of the table is out for good."""
        self._table.rows["retired"][number] = True
        self._switch(number, False)

    def grade(self, episode: str, quality: float) -> None:
        """Somebody spoke of an episode's quality, 0 to 1."""
        if (number := self._table.find(episode)) is not None:
            self._table.rows["quality"][number] = quality
            self._judge(np.array([number]))

    def note_release(self, version: int) -> None:
        """A release is out: what ran under older ones is that much staler."""
        self._release = version
        if self._filters[Part.ONLINE].depends_on_release:
            self._judge(np.flatnonzero(self._table.rows["part"] == Part.ONLINE))

    @property
    def ids_left_out(self) -> frozenset[str]:
        """The episodes that a filter leaves out."""
        rows = self._table.rows
        return frozenset(map(self._table.name, np.flatnonzero(~rows["retired"] & (rows["reason"] != TRAINS)).tolist()))

    @property
    def left_out(self) -> Mapping[str, Mapping[str, int]]:
        """`online` and `offline`: how many episodes the filter leaves out, by reason."""
        rows = self._table.rows[~self._table.rows["retired"]]
        parts = {part.name.lower(): rows["reason"][rows["part"] == part] for part in (Part.ONLINE, Part.OFFLINE)}
        return {name: counts(reasons) for name, reasons in parts.items()}

    def _judge(self, numbers: npt.NDArray[np.intp]) -> None:
        rows = self._table.rows
        numbers = numbers[~rows["retired"][numbers]]
        for part in np.unique(rows["part"][numbers]).tolist():
            mine = numbers[rows["part"][numbers] == part]
            reasons = self._filters[part].reasons(rows[mine], self._table.sites, self._table.robots, self._release)
            turned = mine[(reasons == TRAINS) != (rows["reason"][mine] == TRAINS)]
            rows["reason"][mine] = reasons
            for number in turned.tolist():
                self._switch(number, bool(rows["reason"][number] == TRAINS))

    def _switch(self, number: int, on: bool) -> None:
        task, part = self._table.rows[["task", "part"]][number]
        self._pools[task][part].switch(self._table.spans(number), on)
