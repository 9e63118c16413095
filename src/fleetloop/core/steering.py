"""Which release a robot is to run, and how robots have done under each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True)
class Steering:
    """What the hub goes by, beside the channels. It outlives a restart.

    Attributes:
        held: `stable` stays where it is until a person says otherwise.
        before: where `stable` was before it was moved last; 0 if it never was.
        since_event: the newest event when `stable` was moved last.
        pins: robot -> the version that a person wants it to run.
        candidate: the version on its way from `edge` to `stable`; 0 for none.
        stage: what it is going through: `evaluation` or `canary`; empty for nothing.
        stage_s: clock seconds at which that began; begun_s: at which the last candidate set out.
        stage_event: the newest event when the stage began.
        robots: those that try the candidate.
        expected: the share of unaided successes that the canary is measured by.
        verdicts: version, as text -> what became of the candidate; the newest last.
        learner_to: the release from whose checkpoint the learner is to go on; 0: it has not been told to, or has
            answered. learner_order: the id of the last such order.
    """

    held: bool = False
    before: int = 0
    since_event: int = 0
    pins: Mapping[str, int] = field(default_factory=dict)
    candidate: int = 0
    stage: str = ""
    stage_s: float = 0.0
    begun_s: float | None = None
    stage_event: int = 0
    robots: tuple[str, ...] = ()
    expected: float = 0.0
    verdicts: Mapping[str, str] = field(default_factory=dict)
    learner_to: int = 0
    learner_order: str = ""

    def release_for(self, robot: str) -> int:
        """The version that this robot is to run in place of `stable`'s; 0 for that one."""
        return self.pins.get(robot, self.candidate if robot in self.robots else 0)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What a later version may say beyond it is not heard."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        return cls(**{**values, "robots": tuple(values.get("robots", ()))})


@dataclass(frozen=True)
class Tally:
    """How robots did under a release: in episodes of one purpose that went to an end and whose policy frames are all
    of it.

    Attributes:
        unaided: successes without a takeover; interrupted: episodes with one.
    """

    release: int
    episodes: int
    successes: int
    unaided: int
    interrupted: int
