"""The fleet: who has joined, how they are, and who has an operator's attention."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock
from fleetloop.core.errors import HubRefused, HubUnavailable, SpecMismatch
from fleetloop.core.hub import EDGE, STABLE, Fleet, LearnerStatus, Member, Orders, Registration, RobotStatus
from fleetloop.core.ids import is_name
from fleetloop.core.spec import PolicySpec, check_fit
from fleetloop.core.steering import Steering
from fleetloop.hub.attention import Attention
from fleetloop.hub.catalog.catalog import Catalog
from fleetloop.hub.experience import check_tasks
from fleetloop.hub.http.wire import registration_from_json, registration_to_json
from fleetloop.hub.options import AttentionOptions

BEATS_UNTIL_SILENT = 3
MOST = 1 << 63  # no database counts further
KEEP_WITHIN_S, KEEP_AGAIN_S = 0.5, 1.0  # real seconds, for which all beats wait; clock seconds until the next try


@dataclass(frozen=True)
class _Heard:
    """When somebody was heard last (clock seconds), and what it said then."""

    at: float
    status: RobotStatus | None = None


class FleetBook:
    """Membership and beats. Registrations and attention leases outlive a restart; statuses come anew with each beat.

    Attributes:
        alarms: why no robot gets an operator's attention; empty if that can be had.
    """

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        *,
        tasks: Collection[str],
        policy: Callable[[], PolicySpec | None],
        steering: Callable[[], Steering],
        silent_s: float,
        beats_per_s: float,
        attention: AttentionOptions,
    ) -> None:
        """`policy` says what the newest release asks of a robot, `steering` which one it is to run."""
        self.alarms = Alarms()
        self._catalog, self._clock = catalog, clock
        self._tasks, self._policy, self._silent_s, self._steering = tuple(tasks), policy, silent_s, steering
        self._beats_per_s, self._beat_s, self._beat_s_until = beats_per_s, 0.0, 0.0
        self._keep_from = clock.now()
        self._lock, self._joining = Lock(), Lock()
        with catalog.reading() as records:
            known = [registration_from_json(data) for data in records.members.robots()]
            self._kept = list(records.members.attended())
        self._registrations = {item.robot: item for item in known}
        self._heard = {item.robot: _Heard(clock.now()) for item in known}
        self._attention = Attention(attention, self._kept, clock.now())
        self._learner: tuple[float, LearnerStatus] | None = None

    def register(self, registration: Registration) -> None:
        """Join, or join anew, from this host or another.

        Raises SpecMismatch if the policy does not fit the robot, UnknownName for a task, HubRefused (409) while a robot
        of that name may be there on another host.
        """
        if not is_name(registration.robot):
            raise HubRefused("robot", f"{registration.robot!r} is no name", "give the robot one without a slash")
        check_tasks(self._tasks, registration.tasks)
        if policy := self._policy():
            check_fit(registration.spec, policy)
        with self._joining:
            known = self._check_free(registration)
            if known != registration:
                with self._catalog.writing() as records:
                    records.members.add_robot(registration.robot, registration_to_json(registration))
            with self._lock:
                moved = known is not None and known.host != registration.host
                heard = None if moved else self._heard.get(registration.robot)
                self._registrations[registration.robot] = registration
                self._heard[registration.robot] = heard or _Heard(self._clock.now())

    def beat(self, statuses: Sequence[RobotStatus]) -> Sequence[Orders]:
        """Note how robots are; answers each. Raises HubRefused (404) if one has not registered from where it is."""
        with self._lock:
            for status in statuses:
                self._check_home(status)
            now = self._clock.now()
            for status in statuses:
                self._heard[status.robot] = _Heard(now, status)
                self._attention.tell(status, now)
            self._attention.settle(now)
            self._keep_grants(now)
            beat_s = self._pace(now)
            return [replace(self._orders(status.robot), beat_s=beat_s, clock_s=now) for status in statuses]

    def forget(self, robot: str) -> None:
        """Take one that is gone for good out of the view. If it comes back after all, it registers anew.

        Raises HubRefused as `check_gone`.
        """
        self.check_gone(robot)
        with self._catalog.writing() as records:
            records.members.remove_robot(robot)
        with self._lock:
            self._registrations.pop(robot, None)
            self._heard.pop(robot, None)

    def check_gone(self, robot: str) -> None:
        """Raises HubRefused: 404 for one that is not registered, 409 while it may be there."""
        with self._lock:
            self.check_known(robot)
            silent_s = self._clock.now() - self._heard[robot].at
        if silent_s <= self._silent_s:
            problem = f"{robot!r} was heard, or this hub started, {silent_s:.1f} s ago"
            raise HubRefused("robot", problem, "stop its actor and its courier first", status=409)

    def check_known(self, robot: str) -> None:
        """Raises HubRefused (404) for one that has never registered."""
        if robot not in self._registrations:
            remedy = "start its actor and its courier; `fleetloop status` shows who is there"
            raise HubRefused("robot", f"{robot!r} is not registered", remedy, status=404)

    def report_learner(self, status: LearnerStatus) -> None:
        """Raises HubRefused for a checkpoint that can be no event's number."""
        if not 0 <= status.checkpoint < MOST:
            raise HubRefused(
                "checkpoint", f"is {status.checkpoint}, which is no event", "report one of this hub's events"
            )
        with self._lock:
            self._learner = (self._clock.now(), status)

    def learner_checkpoint(self) -> int:
        """The event up to which the learner needs no episode any more; 0 if it has not said."""
        with self._lock:
            return self._learner[1].checkpoint if self._learner else 0

    def running(self) -> set[int]:
        """The releases that robots run, or ran when they were last heard."""
        with self._lock:
            return {heard.status.release for heard in self._heard.values() if heard.status and heard.status.release}

    def view(self) -> Fleet:
        """Everybody by name, as of now."""
        with self._catalog.reading() as records:
            episodes, edge, stable = records.count_episodes(), records.channel(EDGE), records.channel(STABLE)
        steering = self._steering()
        with self._lock:
            now = self._clock.now()
            self._attention.settle(now)
            learner_at, learner = self._learner or (now, None)
            return Fleet(
                clock_s=now,
                members=tuple(self._member(name, now) for name in sorted(self._registrations)),
                learner=learner,
                learner_silent_s=now - learner_at,
                episodes=episodes,
                edge=edge,
                stable=stable,
                held=steering.held,
                candidate=steering.candidate,
                learner_to=steering.learner_to,
            )

    def _check_free(self, registration: Registration) -> Registration | None:
        """Returns what is known of the robot. Raises HubRefused (409)."""
        with self._lock:
            known = self._registrations.get(registration.robot)
            if known is None or known.host == registration.host:
                return known
            heard, now = self._heard[registration.robot], self._clock.now()
        if now - heard.at > self._silent_s or (heard.status and heard.status.phase == "stopped"):
            return known
        problem = f"{registration.robot!r} is there on host {known.host!r}, heard {now - heard.at:.1f} s ago"
        remedy = f"give the one on {registration.host!r} another name, or stop the other"
        raise HubRefused("robot", problem, remedy, status=409)

    def _check_home(self, status: RobotStatus) -> None:
        """Raises HubRefused (404) for one that has not registered, or on another host since."""
        self.check_known(status.robot)
        home = self._registrations[status.robot].host
        if status.host and status.host != home:
            problem = f"{status.robot!r} has registered on {home!r} since, not on {status.host!r}"
            raise HubRefused("robot", problem, "register it first", status=404)

    def _member(self, name: str, now: float) -> Member:
        registration, heard = self._registrations[name], self._heard[name]
        status, silent_s = heard.status, now - heard.at
        if status and status.phase != "stopped" and silent_s > self._silent_s:
            status = replace(status, phase="offline")
        return Member(registration, status, silent_s, self._orders(name))

    def _orders(self, name: str) -> Orders:
        release, policy = self._steering().release_for(name), self._policy()
        orders = self._attention.orders(name)
        if not any(robot == name and attendant == orders.attendant for robot, _, attendant in self._kept):
            orders = Orders(name)  # nobody is told of a lease that a restart would forget
        orders = replace(orders, release=release)
        if policy is None:
            return orders
        try:
            check_fit(self._registrations[name].spec, policy)
        except SpecMismatch as error:  # it joined before the first release said what the policy needs
            return replace(orders, alarm=str(error))
        return orders

    def _pace(self, now: float) -> float:
        """Real seconds from beat to beat at which the robots that are there make no more than `beats_per_s`."""
        if now >= self._beat_s_until:
            there = sum(now - heard.at <= self._silent_s for heard in self._heard.values())
            self._beat_s = min(there / self._beats_per_s, self._silent_s / BEATS_UNTIL_SILENT)
            self._beat_s_until = now + 1.0
        return self._beat_s

    def _keep_grants(self, now: float) -> None:
        """Write the attention leases down when they changed, before anybody is told. Where that can't be done now,
        beats and the fleet view go on, and nobody gets a new lease."""
        grants = self._attention.grants()
        if grants == self._kept or now < self._keep_from:
            return
        try:
            with self._catalog.writing(KEEP_WITHIN_S) as records:
                records.members.set_attended(grants)
        except HubUnavailable as error:
            self._keep_from = now + KEEP_AGAIN_S
            self.alarms.set("attention", str(error))
            return
        self._kept = grants
        self.alarms.clear("attention")
