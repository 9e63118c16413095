"""Attention leases: which robots have an operator's eye. A pool has few operators, and each attends to few robots."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fleetloop.core.hub import Orders, RobotStatus
from fleetloop.hub.options import AttentionOptions

Grant = tuple[str, str, str]
"""(robot, pool, attendant): one lease as it is kept across a restart."""


@dataclass(frozen=True)
class _Wish:
    """A robot that asks for attention; it has a lease once it has an attendant."""

    robot: str
    pool: str
    seen: float
    attendant: str = ""


class Attention:
    """First come, first served; a lease lives as long as its robot keeps asking. A pure function of what it is told.

    `kept` are the grants from before a restart: they hold on for one lease period, so that nobody else is promised
    the same operator while a robot still counts on it.
    """

    def __init__(self, options: AttentionOptions, kept: Iterable[Grant], now: float) -> None:
        self._options = options
        self._wishes = {robot: _Wish(robot, pool, now, attendant) for robot, pool, attendant in kept}

    def tell(self, status: RobotStatus, now: float) -> None:
        """Note whether a robot wants attention. Its place in the queue is that of its first asking."""
        wish = self._wishes.get(status.robot)
        if not status.wants_attention or (wish and wish.pool != status.operator):
            self._wishes.pop(status.robot, None)
            wish = None
        if status.wants_attention:
            wish = wish or _Wish(status.robot, status.operator, now)
            self._wishes[status.robot] = replace(wish, seen=now)

    def settle(self, now: float) -> None:
        """Drop who has fallen silent, then give every free place to who has waited longest."""
        self._wishes = {robot: wish for robot, wish in self._wishes.items() if self._until(wish) > now}
        load = Counter(wish.attendant for wish in self._wishes.values() if wish.attendant)
        for robot, wish in self._wishes.items():  # a dict keeps the order of first asking
            if wish.attendant:
                continue
            attendants = [f"{wish.pool or 'operator'}-{number + 1}" for number in range(self._options.operators)]
            free = [name for name in attendants if load[name] < self._options.robots_per_operator]
            if free:
                chosen = min(free, key=lambda name: load[name])
                load[chosen] += 1
                self._wishes[robot] = replace(wish, attendant=chosen)

    def orders(self, robot: str) -> Orders:
        wish = self._wishes.get(robot)
        if wish is None or not wish.attendant:
            return Orders(robot)
        return Orders(robot, attention_until=self._until(wish), attendant=wish.attendant)

    def grants(self) -> list[Grant]:
        """The leases that a restart must not forget."""
        return sorted((wish.robot, wish.pool, wish.attendant) for wish in self._wishes.values() if wish.attendant)

    def _until(self, wish: _Wish) -> float:
        return wish.seen + self._options.lease_s
