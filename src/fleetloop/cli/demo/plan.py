"""What a demo does, and the one configuration that all its processes read."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetloop.cli.config import FleetConfig

# Demonstrations per task: enough for a mediocre base, far from enough for a good policy.
DEMONSTRATIONS: Mapping[str, int] = {
    "restock/shelf": 50,
    "restock/misplaced": 50,
    "restock/freezer": 50,
    "restock/cooler": 50,
    "laundry/fold": 12,
    "box/walls": 15,
    "box/assemble": 100,
}
# The demonstrator starts anywhere and has an unsteady hand, but nothing is nudged: the base never sees a recovery.
DEMONSTRATED = {"initial_ticks": 14, "events": 0, "noise_m": 0.010}
NOMINAL_SITE = 0
SITES = (1, 2, 3, 4)
EVALUATION_SEED = 1000  # of resets that neither the demonstrator nor the fleet ever sees; the same for every demo
ROBOTS_WATCHED = 4  # by one operator, who drives one of them at a time
IMAGE_PX = 96
STEPS_PER_S = 8.0
BATCH = 192
ANNEAL_FROM = 0.6


@dataclass(frozen=True)
class DemoPlan:
    """Everything that decides a demo.

    Attributes:
        directory: absolute; everything is kept there.
        minutes: of the fleet's clock, from the moment when all robots run.
        speed: clock seconds per real second to begin with; the pacer changes it. Without effect in real time.
        observe: what the policy sees: `state` (privileged) or `images`.
        encoder: options of the image encoder that differ from the defaults; only for `images`.
        evaluation_episodes: per task, shared out over the sites.
    """

    directory: Path
    tasks: tuple[str, ...]
    robots: int = 4
    minutes: float = 10.0
    seed: int = 0
    speed: float = 6.0
    real_time: bool = False
    observe: str = "state"
    pretrain_steps: int = 800
    evaluation_episodes: int = 40
    encoder: Mapping[str, Any] = field(default_factory=dict)
    demonstrations: Mapping[str, int] = field(default_factory=lambda: DEMONSTRATIONS)

    @property
    def steps(self) -> int:
        """Optimizer steps that the learner is to take."""
        return max(1, round(STEPS_PER_S * 60 * self.minutes))

    @property
    def sites(self) -> tuple[int, ...]:
        """Where the robots stand."""
        return SITES[: self.robots]

    def options(self) -> dict[str, Any]:
        """For the report."""
        return {
            "robots": self.robots,
            "minutes": self.minutes,
            "tasks": list(self.tasks),
            "speed": None if self.real_time else self.speed,
            "real_time": self.real_time,
            "observe": self.observe,
            "pretrain_steps": self.pretrain_steps,
            "evaluation_episodes": self.evaluation_episodes,
            "encoder": dict(self.encoder),
            "demonstrations": {task: self.demonstrations[task] for task in self.tasks},
        }


def fleet_config(plan: DemoPlan, port: int) -> FleetConfig:
    """The configuration of a demo's fleet; all its paths are absolute."""
    values: dict[str, Any] = {
        "run": "demo",
        "seed": plan.seed,
        "host": "demo",
        "tasks": plan.tasks,
        "robots": [_robot(plan, number) for number in range(plan.robots)],
        "directories": {name: plan.directory / name for name in ("learner", "base", "demonstrations")}
        | {"home": plan.directory / "host"},
        "hub": {
            "directory": plan.directory / "hub",
            "port": port,
            "attention": {"operators": -(-plan.robots // ROBOTS_WATCHED), "robots_per_operator": 1},
        },
        "learner": {
            "seed": plan.seed,
            "batch": BATCH,
            "steps_per_s": STEPS_PER_S,
            "publish_every_steps": 25,
            "optimizer": {"rate": 1.5e-3, "total_steps": plan.steps, "anneal_from": ANNEAL_FROM},
        },
        "pretrain": {"seed": plan.seed, "steps": plan.pretrain_steps, "batch": BATCH, "optimizer": {"rate": 3e-3}},
    }
    if plan.observe == "images":
        values["robot"] = {"options": {"image_px": IMAGE_PX}}
        values["policy"] = {"options": {"observe": "images", "image_px": IMAGE_PX}}
        values["directories"] |= {"encoder": plan.directory / "encoder"}
        values["encoder"] = {"seed": plan.seed, "image_px": IMAGE_PX, **plan.encoder}
    if not plan.real_time:
        _stretch_patience(values, plan)
    return FleetConfig.model_validate(values)


def _robot(plan: DemoPlan, number: int) -> dict[str, Any]:
    """Robots begin with different tasks, so that all tasks are worked at from the start."""
    turn = number % len(plan.tasks)
    return {
        "name": f"robot-{number + 1}",
        "site": SITES[number % len(SITES)],
        "tasks": plan.tasks[turn:] + plan.tasks[:turn],
    }


def _stretch_patience(values: dict[str, Any], plan: DemoPlan) -> None:
    """What waits for the network or the disk takes real time, of which a faster clock makes more seconds."""
    values["clock"] = {"file": plan.directory / "clock", "factor": plan.speed}
    values["hub"] |= {"silent_s": 120.0, "learner_lease_s": 600.0}
    values["hub"]["attention"]["lease_s"] = 60.0
    values["learner"] |= {"checkpoint_every_s": 120.0}


def demonstration_counts(plan: DemoPlan) -> dict[str, int]:
    """By task, the longest work first."""
    counts = {task: plan.demonstrations[task] for task in plan.tasks}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def evaluation_counts(plan: DemoPlan) -> dict[int, int]:
    """How many of a task's evaluation episodes each site gets."""
    each, rest = divmod(plan.evaluation_episodes, len(plan.sites))
    return {site: each + (index < rest) for index, site in enumerate(plan.sites)}


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
