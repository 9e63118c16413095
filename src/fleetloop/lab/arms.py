"""The arms: the ways of getting a policy that experiments set side by side. Each is data that can carry itself out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from fleetloop.algorithms.recap_file import write_judgement
from fleetloop.algorithms.recap_fit import fit_value
from fleetloop.algorithms.recap_judgement import Judgement
from fleetloop.algorithms.recap_options import RecapOptions
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.plugins import plugin
from fleetloop.lab.bench import CLONING, Bench
from fleetloop.lab.figures import fleet_figures
from fleetloop.lab.fleet import VirtualFleet
from fleetloop.lab.plan import Choice, RobotPlan
from fleetloop.lab.statistics import crossing
from fleetloop.lab.uniform_sampler import UniformSampler
from fleetloop.learner.base import load_base

HG_DAGGER, RECAP = Choice("hg_dagger"), Choice("recap")
FIT = 16  # numbers the round that a frozen value function is fitted to
# The learner publishes the policy once and parks.
TRAINS_ON_NOTHING: Mapping[str, Any] = {"filters": {"online": {"robots": ("nobody",)}}}
ROUND = 1 << 20  # keeps the resets of a round apart from those of another
Result = Mapping[str, Any]
"""What is kept of an arm: `evaluation` as `Bench.tried` returns it, and what else there is to tell."""


@dataclass(frozen=True)
class Expert:
    """The scripted expert itself (privileged): how much can be reached."""

    name: str = "expert"
    needs: str = ""

    def run(self, bench: Bench) -> Result:
        return {"evaluation": bench.tried(None)}


@dataclass(frozen=True)
class Pretrained:
    """A base from so many of the demonstrations, and nothing after."""

    name: str = "pretrained"
    share: float = 1.0
    needs: str = ""

    def run(self, bench: Bench) -> Result:
        place = bench.base(self.share)
        return {"evaluation": bench.tried(place), "facts": dict(load_base(place).facts)}


@dataclass(frozen=True)
class MoreSteps:
    """Control: as many gradient steps as a learner takes online, on so many of the demonstrations alone."""

    name: str = "more-steps"
    share: float = 1.0
    needs: str = ""

    def run(self, bench: Bench) -> Result:
        trained = bench.trained(bench.demonstrations(self.share), share=self.share)
        return {"evaluation": bench.tried(trained), "steps": bench.setting.steps}


@dataclass(frozen=True)
class MoreDemonstrations:
    """Control: as many human frames of each task as the arm that it `needs` gathered, but as plain demonstrations.

    They come from the nominal site as all demonstrations do, and the base goes on learning for as many steps.

    Attributes:
        deployed: they come from where the fleet works instead, disturbed: what is left of the fleet's lead is what it
            is worth to be corrected, and not what it is worth to have been there.
    """

    needs: str
    name: str = "more-demonstrations"
    deployed: bool = False

    def run(self, bench: Bench) -> Result:
        record = bench.demonstrations_at_sites if self.deployed else bench.more_demonstrations
        more = record(bench.needed["fleet"]["frames_human_by_task"])
        trained = bench.trained([*bench.demonstrations(), *more])
        return {
            "evaluation": bench.tried(trained),
            "steps": bench.setting.steps,
            "frames_human": sum(len(episode) for episode in more),
        }


@dataclass(frozen=True)
class Watch:
    """Evaluations while the fleet works, on fixed resets; how many and how often is the setting's.

    Attributes:
        until: success, averaged over the tasks and `window` evaluations in a row, that must have been reached once and
            is waited for beyond the setting's minutes; None to wait for nothing.
        longest: times the minutes that the fleet works, after which nothing is waited for any more.
    """

    until: float | None = None
    window: int = 3
    longest: float = 1.0


@dataclass(frozen=True)
class Online:
    """A fleet that works and learns.

    Attributes:
        algorithm: which cartridge.
        times: the setting's minutes, that the fleet works.
        robots: the first so many of the setting's; None for all.
        generalist: whether each robot works at all tasks, whatever the setting says.
        helped: whether anybody takes over.
        share: of the demonstrations, that the base was cloned from and that stay in the offline buffer.
        without: tasks whose demonstrations the learner does not get, although the base was cloned from them too.
        learner: options of its that differ from the defaults.
        uniform: draw uniformly from everything that is held, in place of the adaptive sampler.
        rollouts: share of the minutes for which the base works alone before, nobody helping. A value function is fitted
            to that and to the demonstrations, and then is frozen. None for an algorithm that needs none.
        exploration: spread of the robots' random offset to what the policy does, in metres; none in evaluations.
        watch: evaluations on the way.
        acts: other ways to act by the last policy that are tried too: (condition, how much of it), see guidance.
    """

    name: str
    algorithm: Choice = HG_DAGGER
    times: float = 1.0
    robots: int | None = None
    generalist: bool = False
    helped: bool = True
    share: float = 1.0
    without: tuple[str, ...] = ()
    learner: Mapping[str, Any] = field(default_factory=dict)
    uniform: bool = False
    rollouts: float | None = None
    exploration: float = 0.0
    watch: Watch | None = None
    acts: tuple[tuple[str, float], ...] = ()
    needs: str = ""

    def run(self, bench: Bench) -> Result:
        setting, algorithm = bench.setting, self._algorithm(bench)
        operators = setting.operators if self.helped else 0
        plan = bench.plan(
            self._robots(bench),
            algorithm,
            operators=operators,
            minutes=self.times * setting.minutes,
            learner=self.learner,
            exploration=self.exploration,
        )
        base = load_base(bench.base(self.share))
        demonstrations = [item for item in bench.demonstrations(self.share) if item.meta.task not in self.without]
        fleet = VirtualFleet(plan, base, demonstrations, bench.scratch / "fleet")
        if self.uniform:
            fleet.sample_by(UniformSampler(plan.learner.sampler, plan.seed))
        curve = self._work(fleet, bench)
        fleet.stop()
        candidate = fleet.candidate()
        result = {
            "evaluation": bench.tried(candidate, condition=candidate.condition),
            "acts": [
                [condition, beta, bench.tried(replace(candidate, guidance=beta), condition=condition)]
                for condition, beta in self.acts
            ],
            "curve": curve,
            "fleet": fleet_figures(fleet),
            "weights": fleet.newest().result_hash,
        }
        fleet.close()
        return result

    def _algorithm(self, bench: Bench) -> Choice:
        if self.rollouts is None:
            return bench.setting.algorithm(self.algorithm)
        place = bench.base(self.share)
        minutes = self.rollouts * bench.setting.minutes
        alone = collect(bench, place, CLONING, minutes=minutes, helped=False, number=FIT)
        episodes = [*bench.demonstrations(self.share), *alone.episodes]
        return with_values(bench, self.algorithm, place, episodes)

    def _robots(self, bench: Bench) -> tuple[RobotPlan, ...]:
        robots, tasks = bench.setting.robots[: self.robots], bench.setting.tasks
        if not self.generalist:
            return robots
        turned = [tasks[turn % len(tasks) :] + tasks[: turn % len(tasks)] for turn in range(len(robots))]
        return tuple(RobotPlan(robot.name, robot.site, turn) for robot, turn in zip(robots, turned, strict=True))

    def _work(self, fleet: VirtualFleet, bench: Bench) -> list[list[Any]]:
        """Let the time pass; the points of the curve are [minute, {task: [successes, episodes]}]."""
        setting, watch, curve = bench.setting, self.watch, list[list[Any]]()
        until = self.times * setting.minutes * 60
        if watch is None:
            fleet.run(until)
            return curve
        for number in count(1):
            now = number * setting.watch_every_s
            if now > watch.longest * until or (now > until and _there(curve, watch)):
                return curve
            fleet.run(now)
            tried = bench.tried(fleet.candidate(), setting.watch_episodes, fleet.newest().condition)
            counted = {task: [sum(item[1] for item in found), len(found)] for task, found in tried.items()}
            curve.append([now / 60, counted])
        raise AssertionError("a count never ends")


def _there(curve: list[list[Any]], watch: Watch) -> bool:
    """Whether nothing more is waited for."""
    if watch.until is None:
        return True
    minutes = [minute for minute, _ in curve]
    rates = [sum(won / tried for won, tried in point.values()) / len(point) for _, point in curve]
    return crossing(minutes, rates, watch.until, watch.window) is not None


@dataclass(frozen=True)
class OfflineRounds:
    """The reference's offline baseline: collect with the policy as it is, train from the base on all there is, repeat.

    Robots act on what the algorithm says that they do, from the second round on: the base knows no condition.

    The fleet works as long as online, its time shared out over the rounds. Each training starts from the base and takes
    as many steps as a learner takes online; that time is not charged.
    """

    algorithm: Choice = RECAP
    rounds: int = 2
    name: str = "offline-recap"
    needs: str = ""

    def run(self, bench: Bench) -> Result:
        base = place = bench.base()
        algorithm, episodes, figures = CLONING, bench.demonstrations(), list[Any]()
        for number in range(self.rounds):
            minutes = bench.setting.minutes / self.rounds
            collected = collect(bench, place, algorithm, minutes=minutes, helped=True, number=number)
            episodes += collected.episodes
            figures.append(collected.figures)
            algorithm = with_values(bench, self.algorithm, base, episodes)
            place = bench.trained(episodes, algorithm)
        condition = plugin("algorithms", self.algorithm.name).condition
        return {"evaluation": bench.tried(place, condition=condition), "rounds": figures, "steps": bench.setting.steps}


@dataclass(frozen=True)
class Collected:
    """What a fleet lived through while nobody learned."""

    episodes: list[Episode]
    figures: Result


def collect(bench: Bench, place: Path, algorithm: Choice, *, minutes: float, helped: bool, number: int) -> Collected:
    """The fleet at work with the policy at `place`, which `algorithm` has trained; `number` keeps its resets apart from
    those of other rounds."""
    setting = bench.setting
    operators = setting.operators if helped else 0
    plan = bench.plan(setting.robots, algorithm, operators=operators, minutes=minutes, learner=TRAINS_ON_NOTHING)
    directory = bench.scratch / f"round-{number}"
    fleet = VirtualFleet(replace(plan, seed=plan.seed + ROUND * (number + 1)), load_base(place), [], directory)
    fleet.run(minutes * 60)
    fleet.stop()
    collected = Collected(fleet.episodes, fleet_figures(fleet))
    fleet.close()
    return collected


def with_values(bench: Bench, algorithm: Choice, place: Path, episodes: list[Episode]) -> Choice:
    """RECAP with a value function that is fitted to these episodes now, and frozen."""
    options = RecapOptions(**bench.setting.algorithm(Choice("recap")).options, seed=bench.seed)
    torch.manual_seed(bench.seed)
    critic = load_base(place).policy.critic(options.bins)
    fit = fit_value(Judgement(0, {}, critic), {episode.meta.id: episode for episode in episodes}, options)
    file = bench.scratch / f"values-{len(episodes)}.safetensors"
    write_judgement(RealDisk(), file, fit.judgement, options)
    return bench.setting.algorithm(algorithm, value="frozen", value_file=str(file))
