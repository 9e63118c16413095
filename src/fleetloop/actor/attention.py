"""Whose word counts at a robot: its operator's while the hub says so, or while there is no hub to say anything."""

import threading

from fleetloop.actor.options import ActorOptions
from fleetloop.core.alarm import Alarms
from fleetloop.core.hub import Orders

SILENT = "no orders come: it, the network or this host's courier is away"


class Attention:
    """The hub's last orders, and what holds when no more come.

    Whoever has taken over while there was no hub goes on when it is back, until the operator wants attention no more:
    nobody loses an arm in mid-motion because a line was mended.

    `held` is for the control loop, `obey` and `look` for the clerk's thread.
    """

    def __init__(self, robot: str, options: ActorOptions, alarms: Alarms) -> None:
        self._options, self._alarms = options, alarms
        self._lock = threading.Lock()
        self._orders = Orders(robot)
        self._alone = False
        self._news, self._wanted, self._silent_since = True, False, 0.0

    def held(self, now: float) -> bool:
        """Whether the robot's operator holds its attention at `now` (clock seconds)."""
        with self._lock:
            # Orders from before a restart of this machine may lie there still: by a clock that has begun anew since.
            return self._alone or self._orders.clock_s <= now < self._orders.attention_until

    def obey(self, orders: Orders) -> None:
        with self._lock:
            self._orders, self._alone, self._news = orders, self._alone and self._wanted, True
        if orders.alarm:
            self._alarms.set("hub", orders.alarm)
        else:
            self._alarms.clear("hub")

    def look(self, wanted: bool, wall_s: float) -> None:
        """Notice that the hub is silent though it was to be heard.

        Args:
            wanted: whether the operator wants attention: then the hub is asked at once, and owes an answer.
            wall_s: real seconds on any steady clock.
        """
        if self._news or (wanted and not self._wanted):
            self._silent_since = wall_s
        self._news, self._wanted = False, wanted
        owed = self._options.hub_silent_wall_s + (0.0 if wanted else self._orders.beat_s)
        if wall_s - self._silent_since <= owed:
            return
        with self._lock:
            self._alone = self._options.local_takeover
        may = "may take it over all the same" if self._alone else "can't take it over"
        self._alarms.set("hub", f"{SILENT}; who operates this robot {may}")
