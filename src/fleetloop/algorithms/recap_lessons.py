"""What RECAP's value function is fitted to: some frames of every episode, within bounds of their number and bytes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetloop.algorithms.recap_value import Track
from fleetloop.core.critic import Critic
from fleetloop.core.episode import Episode
from fleetloop.core.frame import Array


@dataclass(frozen=True)
class Lesson:
    """What the fit takes of one episode: (n,) of its frames, what the critic takes of them, and the words."""

    track: Track
    frames: npt.NDArray[np.intp]
    sights: dict[str, Array]
    instruction: str

    @property
    def bytes(self) -> int:
        return sum(sight.nbytes for sight in self.sights.values())

    def thinned(self, first: int) -> "Lesson":
        """Every other frame of it, from the `first` on."""
        sights = {name: sight[first::2].copy() for name, sight in self.sights.items()}  # a view would keep them all
        return Lesson(self.track, self.frames[first::2], sights, self.instruction)


class Lessons:
    """Those of many episodes. Whenever they are more than `most_bytes`, every other frame of all is dropped: the first
    or the second in turn, so that ends are kept as well as beginnings, and of short lessons every other one.

    Attributes:
        taken: those that have frames, in the order in which they came.
    """

    def __init__(self, critic: Critic, most_bytes: int) -> None:
        self.taken: list[Lesson] = []
        self._critic, self._most_bytes, self._bytes = critic, most_bytes, 0
        self._came, self._sparsity = 0, 1

    def read(self, episode: Episode, most: int) -> Lesson:
        """Of `most` of its frames at most, evenly spread; as much sparser as those before it have become."""
        frames = np.unique(np.linspace(0, max(len(episode) - 1, 0), min(most, len(episode))).astype(np.intp))
        frames = frames[self._came % self._sparsity :: self._sparsity]
        sights = dict(self._critic.look(episode, frames)) if len(frames) else {}
        return Lesson(Track.of(episode), frames, sights, episode.meta.instruction)

    def take(self, lesson: Lesson) -> None:
        self._came += 1
        if not len(lesson.frames):
            return
        self.taken.append(lesson)
        self._bytes += lesson.bytes
        if self._bytes > self._most_bytes:
            thinned = (one.thinned(number % 2) for number, one in enumerate(self.taken))
            self.taken = [one for one in thinned if len(one.frames)]
            self._bytes, self._sparsity = sum(one.bytes for one in self.taken), 2 * self._sparsity

    def sights(self) -> dict[str, Array]:
        """By name, all rows, lesson by lesson. They are taken out of the lessons: nothing is held twice."""
        count = sum(len(lesson.frames) for lesson in self.taken)
        return {name: self._stacked(name, count) for name in list(self.taken[0].sights)}

    def _stacked(self, name: str, count: int) -> Array:
        first = self.taken[0].sights[name]
        rows, filled = np.empty((count, *first.shape[1:]), first.dtype), 0
        for lesson in self.taken:
            part = lesson.sights.pop(name)
            rows[filled : filled + len(part)] = part
            filled += len(part)
        return rows
