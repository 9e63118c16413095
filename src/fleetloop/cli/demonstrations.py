"""Recording demonstrations: the scripted expert drives, its successes are sealed as episodes."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fleetloop.actor.options import ActorOptions, RecorderOptions
from fleetloop.actor.recorder import EpisodeWriter
from fleetloop.actor.rollout import rollout
from fleetloop.cli.shards import pieces, spread
from fleetloop.cli.stage import ExpertOperator, Stage
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import EpisodeMeta
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Outcome
from fleetloop.core.recording import PARTIAL, seal
from fleetloop.core.robot import EpisodeStart
from fleetloop.core.task import Site
from fleetloop.judges.simulator import SimulatorJudge
from fleetloop.sim.scene import Disturbance
from fleetloop.sim.tasks import sim_task

DEMONSTRATION = 0xDE30  # keeps these draws apart from the fleet's
TRIES = 10  # an expert that fails so often in a row is broken


class ExpertFails(FleetLoopError):
    """The scripted expert did not succeed in any of several tries."""


@dataclass(frozen=True)
class _Piece:
    directory: Path
    task: str
    numbers: Sequence[int]
    site: int
    seed: int
    disturbance: Disturbance
    image_px: int


def record_demonstrations(
    directory: Path,
    counts: dict[str, int],
    *,
    site: int = 0,
    seed: int = 0,
    disturbance: Disturbance,
    image_px: int = 0,
    processes: int | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Seal `counts[task]` successful demonstrations of each task in `directory`; returns the number of frames.

    Failures are tried again from another reset. The same arguments give the same episodes under the same ids.

    Raises:
        UnknownName: for a task that is not simulated.
        ExpertFails, DiskTrouble.
    """
    RealDisk().make(directory)
    work = []
    for task, count in counts.items():
        sim_task(task)
        work += [
            _Piece(directory, task, numbers, site, seed, disturbance, image_px)
            for numbers in pieces(range(count), processes)
        ]
    frames = 0
    for lengths in spread(_record, work, processes):
        frames += sum(lengths)
        progress(len(lengths))
    return frames


def _record(piece: _Piece) -> list[int]:
    stage = Stage(piece.site, piece.disturbance, piece.image_px)
    lengths = [_record_one(piece, stage, number) for number in piece.numbers]
    stage.close()
    return lengths


def _record_one(piece: _Piece, stage: Stage, number: int) -> int:
    for attempt in range(TRIES):
        # The disturbance is part of the key: other episodes must not come under the same ids.
        key = f"{piece.task} {piece.site} {piece.disturbance} {piece.image_px}"
        rng = np.random.default_rng((DEMONSTRATION, piece.seed, zlib.crc32(key.encode()), number, attempt))
        if frames := _attempt(piece, stage, number, rng):
            return frames
    raise ExpertFails(piece.task, f"its expert failed {TRIES} times in a row at site {piece.site}", "disturb it less")


def _attempt(piece: _Piece, stage: Stage, number: int, rng: np.random.Generator) -> int:
    """The number of frames; 0 if it failed, and nothing is left of it."""
    task, disk, seed = sim_task(piece.task).task, RealDisk(), int(rng.integers(2**31))
    id = new_id(float(number), rng)
    result = rollout(
        stage,
        None,
        task,
        seed,
        judge=SimulatorJudge(stage.robot.success),
        operator=ExpertOperator(stage.robot),
        record=lambda start: EpisodeWriter(
            disk, piece.directory, _meta(piece, stage, id, seed, start), RecorderOptions().jpeg_quality
        ),
        options=ActorOptions(takeover_grace=1),
    )
    partial = piece.directory / f"{id}{PARTIAL}"
    if result.outcome is not Outcome.SUCCESS:
        disk.remove(partial)
        return 0
    seal(disk, partial)
    return result.frames


def _meta(piece: _Piece, stage: Stage, id: str, seed: int, start: EpisodeStart) -> EpisodeMeta:
    return EpisodeMeta(
        id=id,
        run="demonstrations",
        robot="demonstrator",
        site=Site.simulated(piece.site).id,
        task=piece.task,
        instruction=start.instruction,
        purpose="demonstration",
        spec=stage.spec,
        operator=ExpertOperator.name,
        seed=seed,
        reset_s=start.reset_s,
        clock=Virtual.name,
    )
