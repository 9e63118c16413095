"""One robot of a virtual fleet with all that its process holds, advanced by an agenda in place of threads."""

from math import ceil

from fleetloop.actor.actor import Actor
from fleetloop.actor.clerk import Clerk
from fleetloop.actor.inference import ImmediateInference
from fleetloop.actor.loader import Loader
from fleetloop.actor.plan import Assignment
from fleetloop.actor.recorder import Recorder
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import Disk
from fleetloop.core.hub import Registration
from fleetloop.core.plugins import plugin
from fleetloop.core.policy import ActingPolicy
from fleetloop.core.release import Release
from fleetloop.core.task import Site
from fleetloop.lab.agenda import Agenda, Call
from fleetloop.lab.host import VirtualHost
from fleetloop.lab.plan import Choice, FleetPlan, RobotPlan
from fleetloop.weights.codec import Weights

NOBODY = Choice("none")
LAB = "lab"


class Station:
    """Robot, actor, recorder and clerk.

    The robot has a clock of its own, which a reset moves ahead of the fleet's: until the fleet's has caught up, its
    control loop is busy.

    Attributes:
        upload: called when a recording may have come to its end; beat: when the hub should hear from the robot.
    """

    def __init__(
        self,
        plan: FleetPlan,
        entry: RobotPlan,
        agenda: Agenda,
        host: VirtualHost,
        disk: Disk,
        *,
        upload: Call,
        beat: Call,
    ) -> None:
        self.upload, self.beat = upload, beat
        self._agenda, self._costs, self._mail_s = agenda, plan.costs, plan.mail_s
        self._clock, alarms = Virtual(agenda.clock.now()), Alarms()
        site, tasks = Site.simulated(entry.site), tuple(plan.robot.task(id) for id in entry.tasks)
        self._robot = plan.robot.build(self._clock, site)
        operator = plan.operator if plan.operators else NOBODY
        self._recorder = Recorder(disk, host.spool, plan.actor.recorder, alarms)
        self.actor = Actor(
            Assignment(LAB, entry.name, LAB, site.id, tasks, plan.seed),
            self._robot,
            operator=operator.build("operators", self._robot),
            judge=plan.judge.build(self._robot),
            inference=ImmediateInference(ceil(plan.costs.inference_s * self._robot.spec.control_hz)),
            recorder=self._recorder,
            clock=self._clock,
            options=plan.actor,
            alarms=alarms,
        )
        condition = plan.actor.condition
        loader = Loader(host, entry.name, self._robot.spec, _acting, self._clock, condition=condition, alarms=alarms)
        registration = Registration(entry.name, LAB, site.id, entry.tasks, self._robot.spec)
        self.clerk = Clerk(self.actor, loader, host, registration, alarms)

    def start(self, now: float) -> None:
        self._agenda.every(self._mail_s, self._keep, now)
        self._agenda.at(now, self._drive)

    def stop(self, now: float) -> None:
        """End the running episode as aborted; its recording is finished."""
        self.actor.stop()
        self._recorder.step(now)
        self.clerk.exchange_mail()
        self._robot.close()

    def _drive(self, now: float) -> None:
        self._clock.sleep_until(now)
        self.actor.step(now)
        self._agenda.at(self.actor.due, self._drive)
        if self.actor.wants_release or self.clerk.urgent:
            self._agenda.at(self._clock.now() + self._costs.record_s, self._keep)

    def _keep(self, now: float) -> None:
        """What the clerk's thread of a real actor does at every round."""
        settled, urgent = self._recorder.settled, self.clerk.urgent
        self._recorder.step(now)
        if self._clock.now() <= now:  # else it is being reset, and asks when that has ended
            self.clerk.load()
        self.clerk.exchange_mail()
        if not settled:
            self._agenda.at(now + self._costs.upload_s, self.upload)
        if urgent:
            self._agenda.at(now + self._costs.message_s, self.beat)


def _acting(release: Release, weights: Weights) -> ActingPolicy:
    kind = plugin("policies", release.policy["name"])
    return kind.acting(release.policy["config"], release.policy_spec(), weights)  # type: ignore[no-any-return]
