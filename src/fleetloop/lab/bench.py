"""Where a job works: starting points, training, fleets and evaluation, all under one setting and one seed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fleetloop.actor.options import ActorOptions
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.plugins import plugin
from fleetloop.core.robot import RobotKind
from fleetloop.lab.candidate import Candidate, from_base
from fleetloop.lab.demonstrations import record_demonstrations
from fleetloop.lab.evaluation import Tried, evaluate
from fleetloop.lab.experiment import NOMINAL, Setting
from fleetloop.lab.fleet import repeatable
from fleetloop.lab.plan import Choice, FleetPlan, RobotPlan
from fleetloop.lab.storage import Cache
from fleetloop.learner.assemble import open_demonstrations
from fleetloop.learner.base import Base, load_base, write_base
from fleetloop.learner.options import LearnerOptions, OptimizerOptions, PretrainOptions
from fleetloop.learner.pretrain import pretrain
from fleetloop.sim.plugin import SimOptions

EVALUATION_SEED = 1000  # of resets that neither the demonstrator nor any fleet ever meets
FEW = 4
OTHER = 1 << 20  # keeps the draws of further demonstrations apart
CLONING = Choice("bc")


@dataclass(frozen=True)
class Bench:
    """One job's place of work.

    Attributes:
        scratch: for what the job throws away.
        cache: shared with the other jobs.
        needed: the result of the arm that this job's arm `needs`.
    """

    setting: Setting
    seed: int
    scratch: Path
    cache: Cache
    needed: Mapping[str, Any]

    # ------------------------------------------------------------------ starting points

    def demonstrations(self, share: float = 1.0) -> list[Episode]:
        """The first `share` of each task's demonstrations; recorded once."""
        chosen, setting = list[Episode](), self.setting
        for task, count in setting.demonstrations.items():
            wanted = max(1, round(count * share))
            described = [task, wanted, self.seed, setting.demonstrated.model_dump()]
            record = partial(self._record_to_keep, task=task, count=wanted)
            place = self.cache.get("demonstrations", described, record)
            found = open_demonstrations(place)
            if len(found) != wanted:
                raise ConfigInvalid(str(place), f"holds {len(found)} of {wanted} demonstrations", "remove it whole")
            chosen += found
        return chosen

    def more_demonstrations(self, frames: Mapping[str, int]) -> list[Episode]:
        """Others than the above: of each task as many as it takes, at their mean length, to have so many frames."""
        lengths = _mean_lengths(self.demonstrations())
        for task, wanted in frames.items():
            if wanted:
                self._record(self._more(task), task, -(-wanted // int(lengths[task])), seed=self.seed + OTHER)
        return self._all_more(frames)

    def demonstrations_at_sites(self, frames: Mapping[str, int]) -> list[Episode]:
        """The same from where the fleet works at each task, its sites in turn, disturbed as the fleet is.

        How long they are there is not known before: a few at a time, until there are so many frames.
        """
        deployed, places = self.setting.deployed, self.setting.places
        for task, wanted in frames.items():
            had, number = 0, 0
            while had < wanted:
                site, seed = places[task][number % len(places[task])], self.seed + OTHER * (number + 1)
                had += self._record(self._more(task), task, FEW, seed=seed, site=site, options=deployed)
                number += 1
        return self._all_more(frames)

    def _all_more(self, frames: Mapping[str, int]) -> list[Episode]:
        return [episode for task, count in frames.items() if count for episode in open_demonstrations(self._more(task))]

    def _more(self, task: str) -> Path:
        return self.scratch / "more" / task.replace("/", "-")

    def base(self, share: float = 1.0) -> Path:
        """The directory of the policy that is cloned from so many of the demonstrations; made once."""
        setting = self.setting
        described = [
            setting.demonstrations,
            share,
            self.seed,
            setting.demonstrated.model_dump(),
            asdict(setting.policy),
            setting.pretrain_steps,
            setting.batch,
        ]
        return self.cache.get("base", described, lambda place: self._clone(place, self.demonstrations(share)))

    def _record(
        self,
        place: Path,
        task: str,
        count: int,
        *,
        seed: int,
        site: int = NOMINAL,
        options: SimOptions | None = None,
    ) -> int:
        robot = RobotKind("sim", options or self.setting.demonstrated)
        return record_demonstrations(place, {robot.task(task): count}, robot, site=site, seed=seed, processes=1)

    def _record_to_keep(self, place: Path, task: str, count: int) -> None:
        self._record(place, task, count, seed=self.seed)

    def _clone(self, place: Path, episodes: Sequence[Episode]) -> None:
        repeatable()
        torch.manual_seed(self.seed)
        kind, robot, setting = plugin("policies", self.setting.policy.name), episodes[0].meta.spec, self.setting
        policy = kind.build(kind.Options(**setting.policy.options).model_dump(mode="json"), robot)
        options = PretrainOptions(seed=self.seed, steps=setting.pretrain_steps, batch=setting.batch)
        made = pretrain(policy, CLONING.build("algorithms"), episodes, options)
        write_base(RealDisk(), place, Base(made.policy, setting.policy.name, robot, made.facts))

    # ------------------------------------------------------------------ getting better

    def trained(self, episodes: Sequence[Episode], algorithm: Choice = CLONING, share: float = 1.0) -> Path:
        """A base that goes on from the base for as many steps as a learner takes online, on these episodes alone."""
        repeatable()
        base, setting = load_base(self.base(share)), self.setting
        options = PretrainOptions(
            seed=self.seed, steps=setting.steps, batch=setting.batch, optimizer=self.optimizer(setting.minutes)
        )
        made = pretrain(base.policy, algorithm.build("algorithms"), episodes, options, fit_statistics=False)
        place = self.scratch / "trained"
        write_base(RealDisk(), place, Base(made.policy, base.name, base.robot, made.facts))
        return place

    def optimizer(self, minutes: float) -> OptimizerOptions:
        """The learner's, for a run of so many minutes."""
        setting = self.setting
        steps = max(1, round(minutes * 60 * setting.steps_per_s))
        return OptimizerOptions(rate=setting.rate, total_steps=steps, anneal_from=setting.anneal_from)

    def plan(
        self,
        robots: Sequence[RobotPlan],
        algorithm: Choice,
        *,
        operators: int,
        minutes: float,
        learner: Mapping[str, Any] | None = None,
        exploration: float = 0.0,
    ) -> FleetPlan:
        """A fleet of these robots under the setting."""
        setting = self.setting
        options = LearnerOptions(
            batch=setting.batch,
            steps_per_s=setting.steps_per_s,
            optimizer=self.optimizer(minutes),
            **(learner or {}),
        )
        return FleetPlan(
            tuple(robots),
            algorithm,
            options,
            seed=self.seed,
            operators=operators,
            robot=RobotKind("sim", setting.deployed),
            actor=ActorOptions(exploration=exploration),
        )

    # ------------------------------------------------------------------ measuring

    def tried(self, candidate: Candidate | Path | None, episodes: int = 0, condition: str = "") -> dict[str, Any]:
        """By task, [site, success, ticks] of every episode, in the order of their resets; no candidate: the expert."""
        if isinstance(candidate, Path):
            candidate = from_base(candidate)
        setting, robot = self.setting, RobotKind("sim", self.setting.deployed)
        found: dict[str, Any] = {}
        for task, sites in setting.places.items():
            results = evaluate(
                candidate,
                [robot.task(task)],
                sites,
                episodes or setting.episodes,
                robot=robot,
                seed=EVALUATION_SEED,
                processes=1,
                options=ActorOptions(condition=condition),
            )
            found[task] = [_compact(item) for item in results]
        return found


def _compact(item: Tried) -> list[int]:
    return [item.site, int(item.success), item.ticks]


def _mean_lengths(episodes: Sequence[Episode]) -> dict[str, float]:
    lengths: defaultdict[str, list[int]] = defaultdict(list)
    for episode in episodes:
        lengths[episode.meta.task].append(len(episode))
    return {task: sum(found) / len(found) for task, found in lengths.items()}
