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

Guess = Callable[[], Draw]


class Loader(Protocol):
    """Where the loop gets its batches. Each is void once the next but one is asked for: its memory is used again."""

    def batch(self, draw: Draw) -> Batch:
        """What was drawn. Raises PayloadLost, HubUnavailable."""
        ...

    def expect(self, guess: Guess) -> None:
        """A step is about to be taken: the next draw will be much like what `guess` says of it.

        Until `settle`, nothing that a draw or a batch depends on may change.
        """
        ...

    def settle(self) -> None:
        """The step was taken: return once nobody reads the buffer."""
        ...


class OnTime:
    """Gathers a batch when it is asked for."""

    def __init__(self, buffer: ExperienceBuffer) -> None:
        self._buffer, self._memory = buffer, Memory()

    def batch(self, draw: Draw) -> Batch:
        return self._buffer.gather(draw.samples, draw.task, draw.online, self._memory)

    def expect(self, guess: Guess) -> None:
        """It has no use for that."""

    def settle(self) -> None:
        """Nobody else reads."""


@dataclass(frozen=True)
class _Ready:
    """The batch of a draw that was guessed, and the buffer's `changes` then."""

    draw: Draw
    changes: int
    batch: Batch

    def answers(self, draw: Draw, changes: int) -> bool:
        """Whether this draw's batch is the same."""
        guessed = self.draw
        return self.changes == changes and all(
            np.array_equal(ours, theirs)
            for ours, theirs in (
                (guessed.samples, draw.samples),
                (guessed.online, draw.online),
                (guessed.task, draw.task),
            )
        )

    def differing(self, draw: Draw) -> npt.NDArray[np.intp] | None:
        """The positions that were not guessed; None for all."""
        return np.flatnonzero(self.draw.samples != draw.samples) if len(self.draw) == len(draw) else None


class Ahead:
    """Gathers during a step what the next one will draw, as far as that is known; `work` does it, on its own thread.

    The next draw depends on the losses of the step that is under way, on what arrives meanwhile and on what is used up.
    So the draw itself is made on time, and where it differs from the guess, those samples are gathered anew. A
    sample's payload never changes: whatever was guessed, the batch is the one that `OnTime` would have made.
    """

    def __init__(self, buffer: ExperienceBuffer) -> None:
        self._buffer = buffer
        self._memory, self._other = Memory(), Memory()  # the next batch's, and that of the one in use
        self._changed = Condition()
        self._guess: Guess | None = None
        self._gathering = False
        self._ready: _Ready | None = None  # what is in `_memory`

    def batch(self, draw: Draw) -> Batch:
        self.settle()
        ready, self._ready = self._ready, None
        if ready is not None and ready.answers(draw, self._buffer.changes):
            batch = ready.batch
        else:
            differing = ready.differing(draw) if ready else None
            batch = self._buffer.gather(draw.samples, draw.task, draw.online, self._memory, differing)
        self._memory, self._other = self._other, self._memory
        return batch

    def expect(self, guess: Guess) -> None:
        with self._changed:
            self._guess = guess
            self._changed.notify_all()

    def settle(self) -> None:
        with self._changed:
            self._guess = None
            self._changed.wait_for(lambda: not self._gathering)

    def work(self, wait_s: float = 0.0) -> None:
        """Gather what is expected; waits up to `wait_s` real seconds for something to be."""
        with self._changed:
            self._changed.wait_for(lambda: self._guess is not None, wait_s)
            guess, self._guess = self._guess, None
            if guess is None:
                return
            self._gathering, self._ready = True, None
        try:
            draw = guess()
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
