"""Recording demonstrations: the robot's own expert drives, its successes are sealed as episodes."""

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fleetloop.actor.options import ActorOptions, RecorderOptions
from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.actor.rollout import rollout
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import EpisodeMeta
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.ids import new_id
from fleetloop.core.judge import SIMULATOR, JudgeKind
from fleetloop.core.outcome import Outcome
from fleetloop.core.recording import PARTIAL, seal
from fleetloop.core.robot import EpisodeStart, Robot, RobotKind
from fleetloop.core.task import Site, Task
from fleetloop.lab.shards import pieces, spread
from fleetloop.lab.stage import ExpertOperator

DEMONSTRATION = 0xDE30  # keeps these draws apart from the fleet's
TRIES = 10  # an expert that fails so often in a row is broken


class ExpertFails(FleetLoopError):
    """The expert did not succeed in any of several tries."""


@dataclass(frozen=True)
class _Piece:
    directory: Path
    task: Task
    numbers: Sequence[int]
    robot: RobotKind
    judge: JudgeKind
    site: Site
    seed: int


def record_demonstrations(
    directory: Path,
    counts: Mapping[Task, int],
    robot: RobotKind,
    *,
    judge: JudgeKind = SIMULATOR,
    site: int = 0,
    seed: int = 0,
    processes: int | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Seal `counts[task]` successful demonstrations of each task in `directory`; returns the number of frames.

    Failures are tried again from another reset. The same arguments give the same episodes under the same ids.

    Raises:
        SpecMismatch: if the robot is not simulated or has no expert, or the judge can't judge it.
        ExpertFails, DiskTrouble.
    """
    robot.require_simulated(
        "`fleetloop demos record`",
        "demonstrate by `rollout` under the clock `Wall`, as docs/how-to/your-robot.md shows",
    )
    RealDisk().make(directory)
    work = []
    for task, count in counts.items():
        work += [
            _Piece(directory, task, numbers, robot, judge, Site.simulated(site), seed)
            for numbers in pieces(range(count), processes)
        ]
    frames = 0
    for lengths in spread(_record, work, processes):
        frames += sum(lengths)
        progress(len(lengths))
    return frames


def _record(piece: _Piece) -> list[int]:
    robot = piece.robot.build(Virtual(), piece.site)
    lengths = [_record_one(piece, robot, number) for number in piece.numbers]
    robot.close()
    return lengths


def _record_one(piece: _Piece, robot: Robot, number: int) -> int:
    ended: Counter[Outcome] = Counter()
    for attempt in range(TRIES):
        # The robot's options are part of the key: other episodes must not come under the same ids.
        key = f"{piece.task.id} {piece.site.id} {piece.robot}"
        rng = np.random.default_rng((DEMONSTRATION, piece.seed, zlib.crc32(key.encode()), number, attempt))
        frames, outcome = _attempt(piece, robot, number, rng)
        if outcome is Outcome.SUCCESS:
            return frames
        ended[outcome] += 1
    how = ", ".join(f"{outcome} {count} times" for outcome, count in ended.most_common())
    problem = f"its expert did not succeed in {TRIES} tries at {piece.site.id} ({how})"
    raise ExpertFails(piece.task.id, problem, "look at its time limit, its success rule, and how much it is disturbed")


def _attempt(piece: _Piece, robot: Robot, number: int, rng: np.random.Generator) -> tuple[int, Outcome]:
    """The number of frames, and how it ended; of what is no success nothing is left."""
    disk, seed = RealDisk(), int(rng.integers(2**31))
    id = new_id(float(number), rng)
    result = rollout(
        robot,
        None,
        piece.task,
        seed,
        judge=piece.judge.build(robot),
        operator=ExpertOperator(robot),
        record=lambda start: EpisodeWriter(
            disk, piece.directory, _meta(piece, robot, id, seed, start), RecorderOptions().jpeg_quality
        ),
        options=ActorOptions(takeover_grace=1),
    )
    partial = piece.directory / f"{id}{PARTIAL}"
    if result.outcome is not Outcome.SUCCESS:
        disk.remove(partial)
    else:
        seal(disk, partial)
    return result.frames, result.outcome


def _meta(piece: _Piece, robot: Robot, id: str, seed: int, start: EpisodeStart) -> EpisodeMeta:
    return EpisodeMeta(
        id=id,
        run="demonstrations",
        robot="demonstrator",
        site=piece.site.id,
        task=piece.task.id,
        instruction=start.instruction,
        purpose="demonstration",
        spec=robot.spec,
        operator=ExpertOperator.name,
        seed=seed,
        reset_s=start.reset_s,
        clock=Virtual.name,
    )
