"""What the fleet has lived through so far: the catalog's rows, and success per task."""

from collections.abc import Mapping, Sequence
from typing import Any

from fleetloop.core.hub import Hub
from fleetloop.core.outcome import Outcome

Row = Mapping[str, Any]
WINDOW = 15
"""Episodes of a task that a rolling figure is taken over."""
PAGE = 1000


class Experience:
    """The rows of all online episodes, in the order in which they reached the hub."""

    def __init__(self, hub: Hub) -> None:
        self.rows: list[Row] = []
        self._hub, self._cursor = hub, 0

    def catch_up(self) -> None:
        """Take in what is new. Raises HubUnavailable."""
        while True:
            events = self._hub.events(self._cursor, limit=PAGE)
            self.rows += [
                event.data for event in events if event.kind == "episode" and event.data["purpose"] == "online"
            ]
            if events:
                self._cursor = events[-1].seq
            if len(events) < PAGE:
                return


def ended(rows: Sequence[Row], task: str | None = None) -> list[Row]:
    """The episodes that came to an end of their own (those that were cut off say nothing), by that end."""
    mine = [row for row in rows if row["outcome"] != Outcome.ABORTED and task in (None, row["task"])]
    return sorted(mine, key=lambda row: row["last_clock_s"])


def autonomous(row: Row) -> bool:
    """Whether the policy succeeded on its own."""
    return bool(row["outcome"] == Outcome.SUCCESS and row["frames_human"] == 0)


def rolling(rows: Sequence[Row], window: int = WINDOW) -> list[float]:
    """Autonomous success over the last `window` of the first 1, 2, … of these episodes."""
    won = [autonomous(row) for row in rows]
    return [sum(won[max(0, stop - window) : stop]) / min(stop, window) for stop in range(1, len(won) + 1)]


def human_share(rows: Sequence[Row]) -> float:
    """Of the frames; 0 where there are none."""
    frames = sum(row["frames"] for row in rows)
    return sum(row["frames_human"] for row in rows) / frames if frames else 0.0
