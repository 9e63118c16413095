"""The results of one experiment that are there, arm by arm, ready for tables and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from fleetloop.core.errors import ConfigInvalid
from fleetloop.lab import statistics
from fleetloop.lab.bench import EVALUATION_SEED
from fleetloop.lab.experiment import Experiment, Setting
from fleetloop.lab.job import as_json, read
from fleetloop.lab.statistics import Estimate, Tried, Values

ROBOTS_ACT = ("positive", 1.0)
"""What robots act on under RECAP, and how much of it."""


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
                found.setdefault(ROBOTS_ACT, []).append(result["evaluation"])
            for condition, beta, tried in result.get("acts", ()):
                found.setdefault((condition, beta), []).append(tried)
        return found

    def fleet(self, name: str) -> float | None:
        """The mean over the seeds of one of the fleet's figures; None for an arm without a fleet."""
        found = [_figure(result, name) for result in self.by_seed.values() if "fleet" in result or "rounds" in result]
        figures = [value for value in found if value is not None]
        return fmean(figures) if figures else None


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
        """From `place/EXPERIMENT/ARM-SEED.json`.

        Raises:
            ConfigInvalid: naming a file that holds no result, another one than its name says, or one of other resets
                than the rest: nothing may be paired with it.
        """
        arms, common = {}, dict[str, list[int]]()
        for arm in experiment.arms:
            mine = {}
            for file in (place / experiment.name).glob(f"{arm.name}-*.json"):
                if (seed := file.stem.removeprefix(f"{arm.name}-")).isdecimal():
                    mine[int(seed)] = result = read(file, experiment.name)
                    common = common or _sites(result)
                    if _sites(result) != common:
                        problem = "was evaluated at other tasks, sites or resets than the other results"
                        raise ConfigInvalid(str(file), problem, "remove it, and run its job again")
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
    def commits(self) -> set[str]:
        return {str(result["commit"]) for arm in self.arms.values() for result in arm.by_seed.values()}

    @property
    def versions(self) -> dict[str, list[str]]:
        """Of each package, all that results were made with."""
        found: dict[str, list[str]] = {}
        for arm in self.arms.values():
            for result in arm.by_seed.values():
                for name, version in result["versions"].items():
                    found[name] = sorted({*found.get(name, ()), version})
        return found

    def otherwise(self, arm: str, result: Mapping[str, Any]) -> list[str]:
        """In what a result was made otherwise than the experiment as it stands would make it."""
        setting = as_json(self.experiment.quick if result["quick"] else self.setting)
        ours = {name: value for name, value in setting.items() if name != "minutes"}  # which may be told by hand
        differs = sorted(name for name, value in ours.items() if result["setting"].get(name) != value)
        now = next(item for item in self.experiment.arms if item.name == arm)
        known = result["options"]  # what the arm has learned to do since has the default that it had
        differs += [name for name, value in as_json(now).items() if known.get(name, value) != value]
        if result["evaluation_seed"] != EVALUATION_SEED:
            differs.append("evaluation_seed")
        needed = self.arms[now.needs].by_seed.get(result["seed"]) if now.needs in self.arms else None
        if needed is not None and result.get("needed", needed["weights"]) != needed["weights"]:
            differs.append(f"the {now.needs} that it builds on")
        return differs

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


def _sites(result: Mapping[str, Any]) -> dict[str, list[int]]:
    """By task, where each of the evaluation's resets takes place, and of which seed all are."""
    sites = {task: [site for site, _, _ in tried] for task, tried in result["evaluation"].items()}
    return {"seed": [result["evaluation_seed"]], **dict(sorted(sites.items()))}


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
