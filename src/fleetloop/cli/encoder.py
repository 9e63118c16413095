"""Making an image encoder from simulated frames: what `fleetloop pretrain encoder` and the demo do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetloop.core.disk import RealDisk
from fleetloop.lab.shards import spread
from fleetloop.policies.sight_options import EncoderOptions
from fleetloop.sim.robot import sim_spec
from fleetloop.sim.survey import Survey, survey

NOMINAL_SITE, FIRST_SITE = 0, 1000  # a fleet's sites have small numbers: no robot stands where the encoder was trained


@dataclass(frozen=True)
class View:
    """Frames of one task at one site, to be looked at in one process."""

    task: str
    site: int
    seed: int
    frames: int
    px: int
    held_out: bool = False


def make_encoder(
    directory: Path,
    tasks: Sequence[str],
    options: EncoderOptions,
    *,
    processes: int | None = None,
    looked: Callable[[int], None] = lambda frames: None,
    trained: Callable[[int, float], None] = lambda step, loss: None,
) -> Mapping[str, Any]:
    """Render frames of the tasks, train an encoder on them, write it; returns the facts of it.

    Args:
        looked: told how many frames have just been rendered.
        trained: told the step and the loss.

    Raises:
        UnknownName: for a task that is not simulated.
        NoGL, DiskTrouble.
    """
    lessons: dict[str, list[Survey]] = {task: [] for task in tasks}
    held_out: dict[str, list[Survey]] = {task: [] for task in tasks}
    found = {}
    for view, frames in spread(_look, views(tasks, options), processes):
        found[view] = frames
        looked(view.frames)
    for view in sorted(found, key=lambda view: (view.task, view.site, view.seed)):  # not in the order of being done
        (held_out if view.held_out else lessons)[view.task].append(found[view])
    from fleetloop.policies.sight_file import write_encoder
    from fleetloop.policies.sight_training import train_sight

    sight, facts = train_sight(lessons, held_out, sim_spec(options.image_px), options, trained)
    facts |= {"tasks": list(tasks), "sites": f"nominal, {FIRST_SITE} to {FIRST_SITE + options.sites - 1}"}
    write_encoder(RealDisk(), directory, sight, facts)
    return facts


def views(tasks: Sequence[str], options: EncoderOptions) -> list[View]:
    """Who looks at what: of each task `options.frames` to train on, and at a held-out site as many as at others."""
    at_each = max(1, round(options.frames * (1 - options.nominal) / max(1, options.sites - options.held_out_sites)))
    nominal = round(options.frames * options.nominal)
    jobs = []
    for task in tasks:
        parts = [min(at_each, nominal - first) for first in range(0, nominal, at_each)]
        jobs += [
            View(task, NOMINAL_SITE, options.seed + part, frames, options.image_px) for part, frames in enumerate(parts)
        ]
        jobs += [
            View(
                task,
                FIRST_SITE + number,
                options.seed,
                at_each,
                options.image_px,
                held_out=number >= options.sites - options.held_out_sites,
            )
            for number in range(options.sites)
        ]
    return jobs


def _look(view: View) -> tuple[View, Survey]:
    return view, survey(view.task, view.site, view.seed, view.frames, view.px)
