"""A moment of the running fleet, as the view shows it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleetloop.cli.demo.experience import Row
from fleetloop.core.hub import Fleet


@dataclass(frozen=True)
class Moment:
    """Attributes:
    tasks: the demo's.
    elapsed_s, total_s: clock seconds since all robots ran, and of the whole.
    factor: clock seconds per real second.
    rows: of the online episodes so far.
    """

    tasks: Sequence[str]
    elapsed_s: float
    total_s: float
    factor: float
    fleet: Fleet
    rows: Sequence[Row]

    def alarms(self) -> Iterator[str]:
        """What is wrong anywhere, a line each."""
        if self.fleet.alarm:
            yield f"hub: {self.fleet.alarm}"
        for member in self.fleet.members:
            if member.status is None:
                yield f"{member.registration.robot}: has not been heard of"
            elif member.status.phase == "offline":
                yield f"{member.registration.robot}: silent for {member.silent_s:.0f} s"
            elif member.status.alarm:
                yield f"{member.registration.robot}: {member.status.alarm}"
        if self.fleet.learner and self.fleet.learner.alarm:
            yield f"learner: {self.fleet.learner.alarm}"
