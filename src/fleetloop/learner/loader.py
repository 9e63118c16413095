"""Batches for the training loop: gathered when they are asked for, or, by another thread, during the step before."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fleetloop.core.errors import HubUnavailable
from fleetloop.core.policy import Batch
from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.buffer.payload import Memory
from fleetloop.learner.errors import PayloadLost
from fleetloop.learner.sampler import Draw
from fleetloop.learner.trainer import Origin

Drawing = Callable[[], Draw]


class Loader(Protocol):
    """Where the loop gets its batches. Each is void once the next but one is asked for: its memory is used again."""

    def draw(self, drawing: Drawing) -> Draw:
        """What `drawing` gives; it may have been asked already, if it is what was expected."""
        ...

    def batch(self, draw: Draw) -> Batch:
        """What was drawn. Raises PayloadLost, HubUnavailable."""
        ...

    def expect(self, drawing: Drawing) -> None:
        """The next draw will be what `drawing` gives from now on, unless the buffer's `changes` change.

        Until `settle`, nothing that a draw or a batch depends on may change.
        """
        ...

    def settle(self) -> None:
        """Return once nobody reads the buffer."""
        ...


class OnTime:
    """Gathers a batch when it is asked for."""

    def __init__(self, buffer: ExperienceBuffer) -> None:
        self._buffer, self._memory = buffer, Memory()

    def draw(self, drawing: Drawing) -> Draw:
        return drawing()

    def batch(self, draw: Draw) -> Batch:
        return self._buffer.gather(draw.samples, draw.task, draw.online, self._memory)

    def expect(self, drawing: Drawing) -> None:
        """It has no use for that."""

    def settle(self) -> None:
        """Nobody else reads."""


@dataclass(frozen=True)
class _Ready:
    """A draw that was expected, its batch, and the buffer's `changes` then: while they stay the same, so do both."""

    draw: Draw
    changes: int
    batch: Batch

    def differing(self, draw: Draw) -> npt.NDArray[np.intp] | None:
        """The positions at which another sample was expected; None for all."""
        return np.flatnonzero(self.draw.samples != draw.samples) if len(self.draw) == len(draw) else None


class Ahead:
    """Draws and gathers during a step what the next one trains on; `work` does it, on its own thread.

    The next draw depends on the losses of the step that is under way, which are known before most of its work is done,
    and on what arrives meanwhile. If something did, the draw is made again on time, and where it differs from what was
    expected, those samples are gathered anew. A sample's payload never changes: whatever was expected, draw and batch
    are those that `OnTime` would have made.
    """

    def __init__(self, buffer: ExperienceBuffer) -> None:
        self._buffer = buffer
        self._memory, self._other = Memory(), Memory()  # the next batch's, and that of the one in use
        self._changed = Condition()
        self._expected: Drawing | None = None
        self._gathering = False
        self._ready: _Ready | None = None  # what is in `_memory`

    def draw(self, drawing: Drawing) -> Draw:
        self.settle()
        ready = self._ready
        return ready.draw if ready is not None and ready.changes == self._buffer.changes else drawing()

    def batch(self, draw: Draw) -> Batch:
        self.settle()
        ready, self._ready = self._ready, None
        if ready is not None and ready.draw is draw and ready.changes == self._buffer.changes:
            batch = ready.batch
        else:
            differing = ready.differing(draw) if ready else None
            batch = self._buffer.gather(draw.samples, draw.task, draw.online, self._memory, differing)
        self._memory, self._other = self._other, self._memory
        return batch

    def expect(self, drawing: Drawing) -> None:
        with self._changed:
            self._expected = drawing
            self._changed.notify_all()

    def settle(self) -> None:
        with self._changed:
            self._expected = None
            self._changed.wait_for(lambda: not self._gathering)

    def work(self, wait_s: float = 0.0) -> None:
        """Gather what is expected; waits up to `wait_s` real seconds for something to be."""
        with self._changed:
            self._changed.wait_for(lambda: self._expected is not None, wait_s)
            drawing, self._expected = self._expected, None
            if drawing is None:
                return
            self._gathering, self._ready = True, None
        try:
            draw = drawing()
            batch = self._buffer.gather(draw.samples, draw.task, draw.online, self._memory)
            self._ready = _Ready(draw, self._buffer.changes, batch)
        except (HubUnavailable, PayloadLost):
            pass  # `batch` meets the same, and the loop deals with it
        finally:
            with self._changed:
                self._gathering = False
                self._changed.notify_all()


def origin(buffer: ExperienceBuffer, draw: Draw) -> Origin:
    """Says of positions of a batch which tasks and episodes they come from."""

    def say(where: npt.NDArray[np.intp]) -> str:
        tasks = ", ".join(buffer.tasks[task] for task in np.unique(draw.task[where]))
        episodes = buffer.episode_ids(draw.samples[where])
        more = f" and {len(episodes) - 8} more" if len(episodes) > 8 else ""
        return f"task {tasks}, episodes {', '.join(episodes[:8])}{more}"

    return say
