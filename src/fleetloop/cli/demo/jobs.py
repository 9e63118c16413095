"""What the demo's workers do. Each is one call with plain arguments, and brings back a plain result."""

from pathlib import Path

from fleetloop.cli.candidate import Candidate, from_base
from fleetloop.cli.config import AlgorithmChoice, FleetConfig
from fleetloop.cli.evaluation import Tried, evaluate
from fleetloop.cli.wiring import disturbance


def record(config: FleetConfig, task: str, count: int) -> int:
    """Record `count` demonstrations of a task at the nominal site; returns the number of frames."""
    from fleetloop.cli.demo.plan import DEMONSTRATED, NOMINAL_SITE
    from fleetloop.cli.demonstrations import record_demonstrations

    return record_demonstrations(
        config.directories.demonstrations,
        {task: count},
        site=NOMINAL_SITE,
        seed=config.seed,
        disturbance=DEMONSTRATED,
        image_px=config.simulation.image_px,
        processes=1,
    )


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
    return evaluate(
        candidate, (task,), (site,), episodes, seed=seed, disturbance=disturbance(config.simulation), processes=1
    )
