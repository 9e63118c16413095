"""How well a policy, or the robot's own expert, does: fresh episodes at given sites, counted, with intervals."""

import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from fleetloop.actor.options import ActorOptions
from fleetloop.actor.rollout import rollout
from fleetloop.core.clock import Virtual
from fleetloop.core.judge import SIMULATOR, JudgeKind
from fleetloop.core.outcome import Outcome
from fleetloop.core.robot import Robot, RobotKind
from fleetloop.core.spec import check_fit
from fleetloop.core.task import Site, Task
from fleetloop.lab.candidate import Candidate
from fleetloop.lab.shards import pieces, spread
from fleetloop.lab.stage import ExpertOperator, Stage

Z95 = 1.959964
INFERENCE_DELAY_TICKS = 1
EVALUATION = 0xE7A1  # keeps these draws apart from the fleet's


@dataclass(frozen=True)
class Trial:
    """One episode to be tried. `number` counts the episodes of a task."""

    task: Task
    site: int
    number: int


@dataclass(frozen=True)
class Tried:
    """How it went.

    Attributes:
        ticks: its length; cpu_s: what it cost, reset not included.
        told_other: the policy was told what another scene would have said, in other words.
    """

    task: str
    site: int
    seed: int
    instruction: str
    success: bool
    ticks: int
    cpu_s: float
    told_other: bool = False


@dataclass(frozen=True)
class Score:
    """Successes of `episodes`, with the Wilson 95 % interval; lengths in control ticks and of successes, if any."""

    episodes: int
    successes: int
    rate: float
    low: float
    high: float
    ticks_mean: float | None
    ticks_p95: float | None
    ticks_per_cpu_s: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Piece:
    """Trials of one task for one process. No candidate: the expert."""

    candidate: Candidate | None
    trials: Sequence[Trial]
    robot: RobotKind
    judge: JudgeKind
    seed: int
    shuffle_instructions: bool
    options: ActorOptions


def evaluate(
    candidate: Candidate | None,
    tasks: Iterable[Task],
    sites: Sequence[int],
    episodes: int,
    *,
    robot: RobotKind,
    judge: JudgeKind = SIMULATOR,
    seed: int = 0,
    processes: int | None = None,
    shuffle_instructions: bool = False,
    options: ActorOptions | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> list[Tried]:
    """Try each task `episodes` times, the sites in turn; ordered by task, then number. No candidate: the expert.

    The resets depend on the seed, the task and the number alone, so that candidates meet the same scenes.

    Args:
        shuffle_instructions: tell the policy what another reset of the same task at that site would have said. Who
            heeds words then fails where the words differ; see `never_worded_otherwise`.
        options: how the fleet's robots are driven; what it leaves to exploration or to people is left out here.
        progress: told how many trials have just been done.

    Raises:
        SpecMismatch: if the robot is not simulated, does not offer what the policy needs, has no expert to measure, or
            can't be judged.
    """
    robot.require_simulated(
        "`fleetloop eval`", "`fleetloop actor --evaluate` measures the release that it is pinned to"
    )
    options = (options or ActorOptions()).model_copy(update={"takeover_grace": 1.0, "exploration": 0.0})
    if candidate is not None:
        options = options.model_copy(update={"condition": candidate.acts_on(options.condition)})
    work: list[_Piece] = []
    for task in tasks:
        # Trials at one site together: a process then compiles a scene once.
        trials = sorted((Trial(task, sites[n % len(sites)], n) for n in range(episodes)), key=lambda item: item.site)
        work += [
            _Piece(candidate, part, robot, judge, seed, shuffle_instructions, options)
            for part in pieces(trials, processes)
        ]
    done: list[tuple[Trial, Tried]] = []
    for results in spread(_try, work, processes, preload=("torch",) if candidate else ()):
        done += results
        progress(len(results))
    order = list(dict.fromkeys(piece.trials[0].task.id for piece in work))
    done.sort(key=lambda item: (order.index(item[0].task.id), item[0].number))
    return [tried for _, tried in done]


def scores(results: Iterable[Tried]) -> dict[str, Score]:
    """By task, in the order in which `evaluate` returns them."""
    return {task: score(list(group)) for task, group in groupby(results, key=lambda item: item.task)}


def score(results: Sequence[Tried]) -> Score:
    successes = [item for item in results if item.success]
    low, high = wilson(len(successes), len(results))
    ticks = [item.ticks for item in successes]
    cpu_s = sum(item.cpu_s for item in results)
    return Score(
        episodes=len(results),
        successes=len(successes),
        rate=len(successes) / len(results),
        low=low,
        high=high,
        ticks_mean=float(np.mean(ticks)) if ticks else None,
        ticks_p95=float(np.percentile(ticks, 95)) if ticks else None,
        ticks_per_cpu_s=sum(item.ticks for item in results) / cpu_s if cpu_s else 0.0,
    )


def never_worded_otherwise(results: Iterable[Tried]) -> list[str]:
    """The tasks of which no trial was told anything but its own words: shuffled instructions measure nothing there."""
    told = {item.task: False for item in results}
    told |= {item.task: True for item in results if item.told_other}
    return [task for task, other in told.items() if not other]


def wilson(successes: int, episodes: int) -> tuple[float, float]:
    """The Wilson score interval of a success rate, at 95 %."""
    if episodes == 0:
        return 0.0, 1.0
    rate, z2 = successes / episodes, Z95**2
    centre = (rate + z2 / (2 * episodes)) / (1 + z2 / episodes)
    half = Z95 / (1 + z2 / episodes) * math.sqrt(rate * (1 - rate) / episodes + z2 / (4 * episodes**2))
    return min(max(centre - half, 0.0), rate), max(min(centre + half, 1.0), rate)  # rounding must not cross the rate


def report(results: Mapping[str, Score]) -> dict[str, Any]:
    """As JSON: each task, and the average over tasks."""
    rates = [item.rate for item in results.values()]
    return {"tasks": {task: item.to_json() for task, item in results.items()}, "average": float(np.mean(rates))}


def _try(piece: _Piece) -> list[tuple[Trial, Tried]]:
    policy = piece.candidate.acting() if piece.candidate else None
    if policy is not None:
        import torch

        torch.set_num_threads(1)
    done = []
    for site, trials in groupby(piece.trials, key=lambda item: item.site):
        robot = piece.robot.build(Virtual(), Site.simulated(site))
        if policy is not None:
            check_fit(robot.spec, policy.spec)
        done += [(trial, _try_one(piece, robot, trial, policy)) for trial in trials]
        robot.close()
    return done


def _try_one(piece: _Piece, robot: Robot, trial: Trial, policy: Any) -> Tried:
    stage, task = Stage(robot), trial.task

    def seeds(other: int) -> int:
        name = zlib.crc32(task.id.encode())
        return int(np.random.default_rng((EVALUATION, piece.seed, name, trial.number, other)).integers(2**31))

    stage.instruction = stage.other_instruction(task, seeds) if piece.shuffle_instructions else ""
    result = rollout(
        stage,
        policy,
        task,
        seeds(0),
        judge=piece.judge.build(robot),
        operator=None if policy else ExpertOperator(robot),
        inference_delay_ticks=INFERENCE_DELAY_TICKS,
        options=piece.options,
    )
    return Tried(
        task.id,
        trial.site,
        seeds(0),
        result.instruction,
        result.outcome is Outcome.SUCCESS,
        result.ticks,
        time.process_time() - stage.began_cpu_s,
        told_other=bool(stage.instruction),
    )
