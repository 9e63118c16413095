"""What can go wrong in a learner on top of what the rest of FleetLoop knows."""

from fleetloop.core.errors import FleetLoopError


class LossInvalid(FleetLoopError):
    """A loss or a gradient that can't be trained on; the text names the tasks and the episodes."""


class CheckpointInvalid(FleetLoopError):
    """A checkpoint that is damaged, or that doesn't belong to this run or to this hub's episodes."""


RESTORED = (
    "if the hub was restored from an older state, move the newest of learner/checkpoints away (docs/operate.md, Back "
    "up and restore); if it is another hub, start in a new directory"
)
"""What to do where a checkpoint is ahead of its hub."""


class BaseInvalid(FleetLoopError):
    """A base directory that holds no readable policy."""


class LabelsInvalid(FleetLoopError):
    """An algorithm's labels don't describe the episode that they were made from."""


class PayloadLost(FleetLoopError):
    """An episode that is held can't be read any more.

    Attributes:
        episode: its id.
    """

    def __init__(self, episode: str, problem: str) -> None:
        super().__init__(f"episode {episode}", problem, "it trains no more; annotate it with `exclude` to be rid of it")
        self.episode = episode
