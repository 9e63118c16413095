"""What an experiment is: a question, one setting for all of its arms, and the arms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fleetloop.lab.plan import Choice, RobotPlan
from fleetloop.sim.plugin import SimOptions

NOMINAL = 0
"""The site that all demonstrations come from, as in life."""


@dataclass(frozen=True)
class Setting:
    """What all arms of an experiment have in common.

    Attributes:
        robots: the fleet; an arm may use the first few of them.
        places: by task, the seeds of the sites at which it is evaluated.
        demonstrations: by task, how many make up the whole of the demonstrations.
        minutes: of the fleet's clock.
        operators: people (scripted, privileged) who watch; each drives one robot at a time.
        episodes: per task, whenever a policy is evaluated; their resets are the same for all arms and seeds.
        watch_every_s, watch_episodes: how often a fleet that is watched is evaluated, and on how many resets per task.
        pretrain_steps, steps_per_s, batch, rate: of the base, and of the learner online.
        anneal_from: share of a run after which the learner's rate is lowered; 1 for a rate that stays.
        policy: and its options.
        algorithms: by name, options that hold for every arm; an arm's own stand above them.
        demonstrated, deployed: what happens to robots while demonstrations are recorded, and afterwards.
    """

    robots: tuple[RobotPlan, ...]
    places: Mapping[str, tuple[int, ...]]
    demonstrations: Mapping[str, int]
    minutes: float = 60.0
    operators: int = 3
    episodes: int = 50
    watch_every_s: float = 60.0
    watch_episodes: int = 16
    pretrain_steps: int = 3000
    steps_per_s: float = 4.0
    batch: int = 192
    rate: float = 1.5e-3
    anneal_from: float = 0.6
    policy: Choice = field(default_factory=lambda: Choice("flow"))
    algorithms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    demonstrated: SimOptions = field(
        # The demonstrator starts anywhere and has an unsteady hand, but nothing is nudged.
        default_factory=lambda: SimOptions(initial_ticks=14, events=0, noise_m=0.010)
    )
    deployed: SimOptions = field(default_factory=SimOptions)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.places)

    def algorithm(self, choice: Choice, **more: Any) -> Choice:
        """As an arm means it, under this setting."""
        return Choice(choice.name, {**self.algorithms.get(choice.name, {}), **choice.options, **more})

    @property
    def steps(self) -> int:
        """Optimizer steps of a learner that works for all the minutes."""
        return max(1, round(self.minutes * 60 * self.steps_per_s))


class Arm(Protocol):
    """One way of getting a policy. A frozen dataclass: with the setting and a seed it decides everything.

    Attributes:
        name: of the file that its results are kept in.
        needs: the name of another arm whose result, of the same seed, this one builds on; empty for none.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> str: ...

    def run(self, bench: Any) -> Mapping[str, Any]:
        """Do it at a `bench.Bench`; returns what is to be kept, as JSON."""
        ...


@dataclass(frozen=True)
class Claim:
    """That `arm` does better than `control`; the report says by how much, with its interval."""

    arm: str
    control: str


@dataclass(frozen=True)
class Experiment:
    """Attributes:
    name: by which it is run.
    question: that it answers, in a sentence.
    setting, quick: in earnest, and small enough for a test.
    """

    name: str
    question: str
    setting: Setting
    quick: Setting
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...] = ()
