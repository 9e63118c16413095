"""What the demo's workers do. Each is one call with plain arguments, and brings back a plain result."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleetloop.cli.config import AlgorithmChoice, FleetConfig
from fleetloop.cli.wiring import robot_kind, tasks_named
from fleetloop.lab.candidate import Candidate, from_base
from fleetloop.lab.evaluation import Tried, evaluate


def record(config: FleetConfig, task: str, count: int) -> int:
    """Record `count` demonstrations of a task at the nominal site; returns the number of frames."""
    from fleetloop.cli.demo.plan import DEMONSTRATED, NOMINAL_SITE
    from fleetloop.lab.demonstrations import record_demonstrations

    fleet = robot_kind(config)
    (todo,) = tasks_named(config, [task])
    return record_demonstrations(
        config.directories.demonstrations,
        {todo: count},
        replace(fleet, options=fleet.options.model_copy(update=DEMONSTRATED)),
        site=NOMINAL_SITE,
        seed=config.seed,
        processes=1,
    )


def train_eyes(config: FleetConfig) -> Mapping[str, Any]:
    """Make the image encoder that the base will see through; returns how it errs, by task."""
    from fleetloop.cli.encoder import make_encoder

    assert config.directories.encoder is not None
    facts = make_encoder(config.directories.encoder, config.tasks, config.encoder, processes=1)
    held_out: Mapping[str, Any] = facts["held_out"]
    return held_out


def train_base(config: FleetConfig) -> Candidate:
    """Clone the demonstrations into a base."""
    from fleetloop.cli.base import make_base
    from fleetloop.learner.assemble import open_demonstrations

    make_base(config, open_demonstrations(config.directories.demonstrations))
    return from_base(config.directories.base)


def train_control(config: FleetConfig, directory: Path, steps: int) -> Candidate:
    """From the same base, as many steps under the learner's own settings, on the demonstrations alone."""
    from fleetloop.cli.wiring import build_algorithm
    from fleetloop.core.disk import RealDisk
    from fleetloop.learner.assemble import open_demonstrations
    from fleetloop.learner.base import Base, load_base, write_base
    from fleetloop.learner.options import PretrainOptions
    from fleetloop.learner.pretrain import pretrain

    base, learner = load_base(config.directories.base), config.learner
    options = PretrainOptions(
        seed=learner.seed,
        steps=steps,
        batch=learner.batch,
        held_out=learner.held_out,
        threads=learner.threads,
        optimizer=learner.optimizer,
    )
    made = pretrain(
        base.policy,
        build_algorithm(AlgorithmChoice(name="bc")),
        open_demonstrations(config.directories.demonstrations),
        options,
        fit_statistics=False,
    )
    write_base(RealDisk(), directory, Base(made.policy, base.name, base.robot, made.facts))
    return from_base(directory)


def try_at_site(
    config: FleetConfig, candidate: Candidate | None, task: str, site: int, episodes: int, seed: int
) -> list[Tried]:
    """Try a task at one site, disturbed as the fleet is; no candidate: the expert."""
    todo, robot = tasks_named(config, [task]), robot_kind(config)
    return evaluate(candidate, todo, (site,), episodes, robot=robot, seed=seed, processes=1, options=config.actor)
