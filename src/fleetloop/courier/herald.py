"""Speaks for the host's robots: joins them to the fleet, says how they are, brings the hub's orders back."""

from collections.abc import Callable, Collection
from dataclasses import replace

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock
from fleetloop.core.errors import FleetLoopError, HubRefused, HubUnavailable
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Hub, Orders, Registration, RobotStatus
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.options import CourierOptions

PART = "beat"
NOT_REGISTERED = 404


class Herald:
    """Registration and beats. An actor that has gone silent is no longer spoken for, so that the fleet view sees it.

    It beats every `beat_wall_s`; more seldom if the hub of a large fleet asks for that, but never while a robot wants
    attention: then an operator waits for the answer.
    """

    def __init__(
        self,
        host: HostDirectory,
        hub: Hub,
        options: CourierOptions,
        backoff: Backoff,
        alarms: Alarms,
        *,
        clock: Clock,
        refused: Callable[[], Collection[int]] = tuple,
    ) -> None:
        """`clock` is the one that this host's actors go by; `refused` says which releases this host will not take."""
        self._refused, self._clock = refused, clock
        self._host, self._hub, self._options = host, hub, options
        self._backoff, self._alarms = backoff, alarms
        self._registered: dict[str, Registration] = {}
        self._stamps: dict[str, int] = {}
        self._silent_s: dict[str, float] = {}
        self._wanted: dict[str, bool] = {}
        self._posted: dict[str, int] = {}
        self._since_s = self._pause_s = options.beat_wall_s

    def step(self) -> float:
        """Speak, if it is time or attention can't wait. Returns the real seconds until the next call."""
        due = self._since_s + self._options.look_wall_s / 2 >= self._pause_s
        pause = self.speak() if due or self._attention_changed() else self._options.look_wall_s
        self._since_s += pause
        return pause

    def speak(self) -> float:
        """Register whoever is new and beat. Returns the real seconds until the next call of `step`."""
        try:
            self._register()
            self._beat()
        except FleetLoopError as error:
            if isinstance(error, HubRefused) and error.status == NOT_REGISTERED:
                self._registered.clear()  # the hub forgot, or gave a name away: all join anew at the next step
            self._alarms.set(PART, str(error))
            self._pause_s = 0.0
            return self._backoff.failed()
        finally:
            self._since_s = 0.0
        self._alarms.clear(PART)
        self._backoff.succeeded()
        return self._options.look_wall_s

    def _attention_changed(self) -> bool:
        """Whether a robot wants attention that did not at the last beat, or the other way round."""
        posted = {robot: self._host.status_stamp(robot) for robot in self._wanted}
        if posted == self._posted:
            return False
        self._posted = posted
        spoken_for = (status for status in self._host.statuses() if status.robot in self._wanted)
        return any(self._wanted[status.robot] is not status.wants_attention for status in spoken_for)

    def _register(self) -> None:
        for registration in self._host.registrations():
            robot = registration.robot
            if self._registered.get(robot) == registration:
                continue
            try:
                self._hub.register(registration)
            except HubUnavailable:
                raise
            except FleetLoopError as error:
                self._registered.pop(robot, None)
                unattended = replace(self._host.orders(robot), attention_until=0.0, attendant="")
                self._host.post_orders(replace(unattended, alarm=str(error)))
                continue
            self._registered[robot] = registration

    def _beat(self) -> None:
        statuses = [self._with_ours(status) for status in self._host.statuses() if self._is_heard(status.robot)]
        self._pause_s = self._options.beat_wall_s
        if not statuses:
            return
        self._wanted = {status.robot: status.wants_attention for status in statuses}
        asked = self._clock.now()
        answers = self._hub.beat(statuses)
        for orders in answers:
            self._host.post_orders(_by_own_clock(orders, asked))
        if not any(self._wanted.values()):
            self._pause_s = max([self._pause_s, *(orders.beat_s for orders in answers)])

    def _is_heard(self, robot: str) -> bool:
        """Whether a registered robot's actor has posted lately."""
        stamp = self._host.status_stamp(robot)
        same = self._stamps.get(robot) == stamp
        self._silent_s[robot] = self._silent_s.get(robot, 0.0) + self._since_s if same else 0.0
        self._stamps[robot] = stamp
        return robot in self._registered and self._silent_s[robot] <= self._options.silent_wall_s

    def _with_ours(self, status: RobotStatus) -> RobotStatus:
        """With this courier's alarm, and what it refuses in the robot's place: nobody else could tell the hub."""
        both = [text for text in (status.alarm, self._alarms.text) if text]
        ordered = self._host.orders(status.robot).release
        refused = ordered if ordered in self._refused() else status.refused
        return replace(status, alarm="; ".join(both), refused=refused, host=self._registered[status.robot].host)


def _by_own_clock(orders: Orders, asked: float) -> Orders:
    """In this host's clock seconds. What the answer took on its way only shortens the attention."""
    until = orders.attention_until and orders.attention_until + (asked - orders.clock_s)
    return replace(orders, attention_until=until if until > asked else 0.0, clock_s=asked)
