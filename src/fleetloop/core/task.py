"""Tasks and sites."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What is to be done.

    Attributes:
        id: e.g. `restock/shelf`; the part before the slash is the family.
        instruction: what the robot is told; a scene that words it anew at each reset says so in `EpisodeStart`.
        time_limit_s: seconds after which an attempt ends as a timeout.
        success: the success rule in words.
    """

    id: str
    instruction: str
    time_limit_s: float
    success: str = ""

    @property
    def family(self) -> str:
        return self.id.split("/")[0]


@dataclass(frozen=True)
class Site:
    """Where a robot stands. A simulated site is drawn from its seed; seed 0 is the nominal one."""

    id: str
    seed: int = 0

    @classmethod
    def simulated(cls, seed: int) -> "Site":
        return cls(id=f"site-{seed}", seed=seed)
