"""What an actor must do with the host's directory, off the control loop: releases to load, mail to read and write."""

from dataclasses import replace

from fleetloop.actor.actor import Actor
from fleetloop.actor.loader import Loader
from fleetloop.core.alarm import Alarms
from fleetloop.core.errors import DiskTrouble
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Registration


class Clerk:
    """One actor's way to its host's directory. A thread other than the control loop's calls it."""

    def __init__(
        self, actor: Actor, loader: Loader, host: HostDirectory, registration: Registration, alarms: Alarms
    ) -> None:
        self._actor, self._loader, self._host, self._alarms = actor, loader, host, alarms
        self._registration = registration
        self._registered = False
        self._wanted = False
        self._heard = self._pinned = 0

    def load(self) -> None:
        """Give the actor the newest sound release, if it waits for one, and note which has proved itself."""
        self._loader.prove(self._actor.proven)
        if self._actor.wants_release:
            self.hear()
            self._actor.offer(self._loader.newest(self._pinned))

    @property
    def urgent(self) -> bool:
        """Whether the robot's operator has begun or ceased to want attention since the last status."""
        return self._actor.status().wants_attention is not self._wanted

    def hear(self) -> None:
        """Obey the hub's newest orders, if there are any that were not read yet."""
        stamp = self._host.orders_stamp(self._registration.robot)
        if stamp != self._heard:
            self._heard = stamp
            orders = self._host.orders(self._registration.robot)
            self._pinned = orders.release
            self._actor.obey(orders)

    def exchange_mail(self) -> None:
        """Say who and how the robot is, and hear the hub's orders."""
        try:
            if not self._registered:
                self._host.post_registration(self._registration)
                self._registered = True
            status = replace(self._actor.status(), refused=self._loader.refused)
            self._host.post_status(status)
            self._wanted = status.wants_attention
        except DiskTrouble as error:
            self._alarms.set("mail", str(error))
            return
        self._alarms.clear("mail")
        self.hear()
