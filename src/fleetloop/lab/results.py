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
        found = [_figure(result, name) for result in self.by_seed.values() if "fleet" in result or "rounds" in result]
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
    def latest(self) -> Mapping[str, Any]:
        """A result of the highest seed that any arm has."""
        found = [result for arm in self.arms.values() for result in arm.by_seed.values()]
        return max(found, key=lambda result: result["seed"])

    @property
    def families(self) -> dict[str, list[str]]:
        """The tasks by family; each task by itself, if every family has but one."""
        found: dict[str, list[str]] = {}
        for task in self.setting.tasks:
            found.setdefault(task.split("/")[0], []).append(task)
        return found if len(found) < len(self.setting.tasks) else {task: [task] for task in self.setting.tasks}

    def average(self, arm: str) -> Estimate:
        """Success, each task counting the same."""
        return statistics.rate(self.arms[arm].won(self.setting.tasks))

    def difference(self, arm: str, control: str, tasks: Sequence[str] | None = None) -> Estimate | None:
        """Paired, over the seeds that both have; None if there are none."""
        if arm not in self.arms or control not in self.arms:
            return None
        one, other, tasks = self.arms[arm], self.arms[control], tasks or self.setting.tasks
        seeds = self.shared(arm, control)
        return statistics.paired(one.won(tasks, seeds), other.won(tasks, seeds)) if seeds else None

    def shared(self, *arms: str) -> list[int]:
        """The seeds that all of these have."""
        found = [set(self.arms[arm].seeds) if arm in self.arms else set() for arm in arms]
        return sorted(set.intersection(*found))

    def gap_closed(self, arm: str, tasks: Sequence[str], before: str = "pretrained") -> Estimate | None:
        """The share of the way from `before` to the expert."""
        seeds = self.shared(arm, before, "expert")
        if not seeds:
            return None
        return statistics.gap_closed(*(self.arms[name].won(tasks, seeds) for name in (before, arm, "expert")))


def _figure(result: Mapping[str, Any], name: str) -> float | None:
    """One figure of a fleet; three of them are worked out from what is kept."""
    if "rounds" in result:
        return _of_rounds(result, name)
    fleet = result["fleet"]
    if name == "replay_ratio":
        return fleet["metrics"].get(name)  # type: ignore[no-any-return]
    if name == "drawable":
        return float(sum(task["samples_online"] for task in fleet["metrics"]["tasks"].values()))
    if name == "at_own_sites":
        return _at_own_sites(result)
    return fleet[name]  # type: ignore[no-any-return]


def _of_rounds(result: Mapping[str, Any], name: str) -> float | None:
    """Of fleets that collected, one after the other, for trainings that began anew; None for what has no sum."""
    rounds = result["rounds"]
    if name == "robots":
        return max(float(fleet["robots"]) for fleet in rounds)
    if name == "steps":
        return float(result["steps"] * len(rounds))
    return sum(fleet[name] for fleet in rounds) if name in ("episodes", "intervention_minutes") else None


def _at_own_sites(result: Mapping[str, Any]) -> float | None:
    """Success in the episodes of the evaluation that took place where the arm's robots worked at that task."""
    robots = result["setting"]["robots"][: result["options"]["robots"]]
    everything = result["options"]["generalist"]
    own = [
        won
        for task, tried in result["evaluation"].items()
        for site, won, _ in tried
        if any(robot["site"] == site and (everything or task in robot["tasks"]) for robot in robots)
    ]
    return sum(own) / len(own) if own else None
