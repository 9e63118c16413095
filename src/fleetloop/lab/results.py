"""The results of one experiment that are there, arm by arm, ready for tables and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fleetloop.lab import statistics
from fleetloop.lab.experiment import Experiment, Setting
from fleetloop.lab.job import read
from fleetloop.lab.statistics import Estimate, Tried, Values


@dataclass(frozen=True)
class ArmResults:
    """One arm's results, by seed."""

    name: str
    by_seed: Mapping[int, Mapping[str, Any]]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.by_seed)

    def won(self, tasks: Sequence[str], seeds: Sequence[int] | None = None) -> Values:
        """(seeds, tasks, episodes)."""
        chosen = self.seeds if seeds is None else seeds
        return statistics.outcomes([self.by_seed[seed]["evaluation"] for seed in chosen], tasks)

    def ticks(self, tasks: Sequence[str]) -> Values:
        """(seeds, tasks, episodes)."""
        return statistics.lengths([result["evaluation"] for result in self.by_seed.values()], tasks)

    def acts(self) -> dict[tuple[str, float], list[Tried]]:
        """By condition and guidance, the evaluations of all seeds, first what robots do; empty if that is all."""
        found: dict[tuple[str, float], list[Tried]] = {}
        for result in self.by_seed.values():
            if result.get("acts"):
                found.setdefault(("positive", 1.0), []).append(result["evaluation"])
            for condition, beta, tried in result.get("acts", ()):
                found.setdefault((condition, beta), []).append(tried)
        return found

    def fleet(self, name: str) -> Estimate | None:
        """The mean over the seeds of one of the fleet's figures; None for an arm without a fleet."""
        found = [result["fleet"][name] for result in self.by_seed.values() if "fleet" in result]
        return statistics.bootstrap([value for value in found if value is not None])


@dataclass(frozen=True)
class Results:
    """What there is of an experiment.

    Attributes:
        arms: by name, in the experiment's order; arms without any result are missing.
        missing: the names of those.
    """

    experiment: Experiment
    arms: Mapping[str, ArmResults]

    @classmethod
    def load(cls, experiment: Experiment, place: Path) -> "Results":
        """From `place/EXPERIMENT/ARM-SEED.json`."""
        arms = {}
        for arm in experiment.arms:
            found = [read(file) for file in sorted((place / experiment.name).glob(f"{arm.name}-*.json"))]
            mine = {result["seed"]: result for result in found if result["arm"] == arm.name}
            if mine:
                arms[arm.name] = ArmResults(arm.name, dict(sorted(mine.items())))
        return cls(experiment, arms)

    @property
    def missing(self) -> list[str]:
        return [arm.name for arm in self.experiment.arms if arm.name not in self.arms]

    @property
    def setting(self) -> Setting:
        return self.experiment.setting

    @cached_property
    def any(self) -> Mapping[str, Any]:
        """One of the results, for what they have in common."""
        return next(iter(next(iter(self.arms.values())).by_seed.values()))

    @property
    def families(self) -> dict[str, list[str]]:
        """The tasks by family; each task by itself, if every family has but one."""
        found: dict[str, list[str]] = {}
        for task in self.setting.tasks:
            found.setdefault(task.split("/")[0], []).append(task)
        return found if len(found) < len(self.setting.tasks) else {task: [task] for task in self.setting.tasks}

    def average(self, arm: str) -> Estimate:
        """Success, each task counting the same."""
        return statistics.mean(self.arms[arm].won(self.setting.tasks))

    def difference(self, arm: str, control: str, tasks: Sequence[str] | None = None) -> Estimate | None:
        """Paired, over the seeds that both have; None if there are none."""
        if arm not in self.arms or control not in self.arms:
            return None
        one, other, tasks = self.arms[arm], self.arms[control], tasks or self.setting.tasks
        seeds = [seed for seed in one.seeds if seed in other.seeds]
        if not seeds:
            return None
        return statistics.mean(one.won(tasks, seeds) - other.won(tasks, seeds))

    def gap_closed(self, arm: str, tasks: Sequence[str], before: str = "pretrained") -> Estimate | None:
        """The share of the way from `before` to the expert."""
        if {arm, before, "expert"} - set(self.arms):
            return None
        mine, base, expert = (self.arms[name] for name in (arm, before, "expert"))
        seeds = [seed for seed in mine.seeds if seed in base.seeds and seed in expert.seeds]
        if not seeds:
            return None
        return statistics.gap_closed(*(item.won(tasks, seeds) for item in (base, mine, expert)))
