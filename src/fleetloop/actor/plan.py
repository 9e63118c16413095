"""Which task comes next, and with which seed: a function of the robot, its seed and the count of its episodes."""

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fleetloop.core.task import Task


@dataclass(frozen=True)
class Assignment:
    """Who this actor is and what it is to do.

    Attributes:
        tasks: at least one.
        seed: every draw of this actor follows from it and the robot's name.
        purpose: of the episodes: `online`, `demonstration` or `evaluation`.
    """

    run: str
    robot: str
    host: str
    site: str
    tasks: tuple[Task, ...]
    seed: int = 0
    purpose: str = "online"


@dataclass(frozen=True)
class Plan:
    """One episode to come.

    Attributes:
        seed: of the reset.
        rng: what the policy draws from; id_rng: what the episode's id is drawn from.
    """

    task: Task
    seed: int
    rng: np.random.Generator
    id_rng: np.random.Generator


def plan(assignment: Assignment, index: int, order: Literal["round-robin", "shuffled"]) -> Plan:
    """The episode with this index, counting from 0."""
    tasks = assignment.tasks
    round_, place = divmod(index, len(tasks))
    if order == "shuffled":
        shuffled = _generator(assignment, "order", round_).permutation(len(tasks))
        place = int(shuffled[place])
    seed = int(_generator(assignment, "reset", index).integers(2**31))
    return Plan(tasks[place], seed, _generator(assignment, "policy", index), _generator(assignment, "id", index))


def _generator(assignment: Assignment, use: str, count: int) -> np.random.Generator:
    name = zlib.crc32(f"{assignment.robot}\0{use}".encode())
    return np.random.default_rng((assignment.seed, name, count))
