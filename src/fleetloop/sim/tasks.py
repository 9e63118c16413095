"""The simulated tasks by id."""

from dataclasses import dataclass
from typing import Any

from fleetloop.core.errors import UnknownName
from fleetloop.core.task import Task
from fleetloop.sim import box, box_expert, laundry, laundry_expert
from fleetloop.sim.expert import Expert
from fleetloop.sim.restock import cooler, freezer, misplaced, shelf
from fleetloop.sim.scene import Scene


@dataclass(frozen=True)
class SimTask:
    """A task, the scene that it happens in and the expert that knows how."""

    task: Task
    scene: type[Scene]
    expert: type[Expert[Any]]


# The instructions are what a person reads in a list: each scene words its own anew at every reset.
_TASKS = (
    SimTask(
        Task(
            "restock/shelf",
            "put the ITEM on the PLACE shelf",
            shelf.TIME_LIMIT,
            "the named item rests in the named compartment, hands open and away",
        ),
        shelf.ShelfScene,
        shelf.ShelfExpert,
    ),
    SimTask(
        Task(
            "restock/misplaced",
            "put the misplaced item back where it belongs",
            misplaced.TIME_LIMIT,
            "the misplaced item, and it alone, rests in the compartment that carries its name, hands open and away",
        ),
        misplaced.MisplacedScene,
        misplaced.MisplacedExpert,
    ),
    SimTask(
        Task(
            "restock/freezer",
            "put the ITEM in the freezer and close the door",
            freezer.TIME_LIMIT,
            "the named item rests in the freezer, its door is closed, hands open and away",
        ),
        freezer.FreezerScene,
        freezer.FreezerExpert,
    ),
    SimTask(
        Task(
            "restock/cooler",
            "stand the ITEM up in the PLACE cooler",
            cooler.TIME_LIMIT,
            "the named carton stands upright in the named cell, hands open and away",
        ),
        cooler.CoolerScene,
        cooler.CoolerExpert,
    ),
    SimTask(
        Task(
            "laundry/fold",
            "fold the cloth in half on the mark",
            laundry.TIME_LIMIT,
            "a flat folded rectangle lies on the mark, hands open, away and holding nothing",
        ),
        laundry.FoldScene,
        laundry_expert.FoldExpert,
    ),
    SimTask(
        Task("box/walls", "raise the walls of the box", box.WALLS_TIME_LIMIT, "all four walls stand, hands away"),
        box.WallsScene,
        box_expert.BoxExpert,
    ),
    SimTask(
        Task(
            "box/assemble",
            "assemble the box",
            box.ASSEMBLE_TIME_LIMIT,
            "all walls stand and all flaps are closed, the minor ones under the major ones, hands away",
        ),
        box.AssembleScene,
        box_expert.BoxExpert,
    ),
)
SIM_TASKS = {entry.task.id: entry for entry in _TASKS}


def sim_task(id: str) -> SimTask:
    """Raises UnknownName naming the simulated tasks."""
    if id not in SIM_TASKS:
        raise UnknownName(f"task {id}", "is not simulated", f"known: {', '.join(SIM_TASKS)}")
    return SIM_TASKS[id]
