"""What is done to the fleet, and the small fleet that it is done to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetloop.cli.config import FleetConfig

DEMONSTRATIONS = 4
CONTENTS = ("fleet.yaml", "clock", "logs", "hub", "host", "learner", "base", "demonstrations")


@dataclass(frozen=True)
class ChaosPlan:
    """Attributes:
    directory: absolute; everything is kept there.
    minutes: real ones, for which things are done to the fleet.
    kills: so many processes are killed (-9) in that time.
    seed: decides what is done, though not when the machine does it.
    """

    directory: Path
    minutes: float
    kills: int
    robots: int = 3
    seed: int = 0


def chaos_config(plan: ChaosPlan, port: int, hub_url: str) -> FleetConfig:
    """Robots with short episodes, a policy that costs little, and processes that come back quickly."""
    values: dict[str, Any] = {
        "run": "chaos",
        "seed": plan.seed,
        "host": "chaos",
        "tasks": ("restock/shelf", "restock/misplaced"),
        "robots": [{"name": f"robot-{number + 1}", "site": number + 1} for number in range(plan.robots)],
        "robot": {"options": {"reset_s": 0.5}},
        "directories": {name: plan.directory / name for name in ("learner", "base", "demonstrations")}
        | {"home": plan.directory / "host"},
        "clock": {"file": plan.directory / "clock", "factor": 3.0},
        "hub_url": hub_url,
        "actor": {"recorder": {"spare_bytes": 0}},  # the disk that is filled is smaller than what else stays free
        "hub": {"directory": plan.directory / "hub", "port": port, "learner_lease_s": 6.0},
        "courier": {"retry_longest_wall_s": 2.0, "poll_wall_s": 5.0},
        "policy": {"name": "flow", "options": {"width": 32, "depth": 1, "words": 8}},
        "pretrain": {"steps": 20, "batch": 16},
        "learner": {
            "steps_per_s": 2.0,
            "batch": 32,
            "publish_every_steps": 10,
            "checkpoint_every_s": 10.0,
            "tensorboard": False,
        },
    }
    return FleetConfig.model_validate(values)
