"""A host's directory whose mail is kept in memory.

A file's time is the machine's own, and the stamps by which mail is told apart are file times: a virtual run that went
by them would not repeat itself. Recordings and releases are files as ever.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fleetloop.core.disk import Disk
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Orders, Registration, RobotStatus


class VirtualHost(HostDirectory):
    """Stamps count the letters that were posted."""

    def __init__(self, root: Path, disk: Disk) -> None:
        super().__init__(root, disk)
        self._registrations: dict[str, Registration] = {}
        self._statuses: dict[str, RobotStatus] = {}
        self._orders: dict[str, Orders] = {}
        self._status_stamps: Counter[str] = Counter()
        self._orders_stamps: Counter[str] = Counter()

    def post_registration(self, registration: Registration) -> None:
        self._registrations[registration.robot] = registration

    def registrations(self) -> Iterator[Registration]:
        return iter(list(self._registrations.values()))

    def post_status(self, status: RobotStatus) -> None:
        self._statuses[status.robot] = status
        self._status_stamps[status.robot] += 1

    def statuses(self) -> Iterator[RobotStatus]:
        return iter(list(self._statuses.values()))

    def status_stamp(self, robot: str) -> int:
        return self._status_stamps[robot]

    def post_orders(self, orders: Orders) -> None:
        self._orders[orders.robot] = orders
        self._orders_stamps[orders.robot] += 1

    def orders(self, robot: str) -> Orders:
        return self._orders.get(robot, Orders(robot))

    def pinned(self) -> set[int]:
        return {orders.release for orders in self._orders.values() if orders.release}

    def orders_stamp(self, robot: str) -> int:
        return self._orders_stamps[robot]
