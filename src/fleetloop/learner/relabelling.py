"""From one label version to the next: behind the running learner, and switched between two steps."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from fleetloop.core.algorithm import Algorithm, Refresh
from fleetloop.core.episode import Episode
from fleetloop.core.errors import EpisodeInvalid, HubRefused
from fleetloop.learner.arrival import Prepared
from fleetloop.learner.buffer.buffer import ExperienceBuffer
from fleetloop.learner.buffer.pictures import PictureCache
from fleetloop.learner.buffer.selection import Selection
from fleetloop.learner.labels import labelled_by

log = logging.getLogger(__name__)


class Archive(Mapping[str, Episode]):
    """Every episode that is held, by id, in order of arrival. Demonstrations are at hand, and what this machine's disk
    alone has; a look-up opens the others.

    Args:
        fetch: opens an online episode as the annotations so far would have it.
        pictures: remembers what was decoded of those that were looked up.
    """

    def __init__(self, fetch: Callable[[str], Episode], pictures: PictureCache) -> None:
        self._fetch, self._pictures = fetch, pictures
        self._held: dict[str, Episode | None] = {}

    def hold(self, episode: Episode, *, ours: bool = False) -> None:
        """`ours`: the hub knows nothing of it."""
        at_hand = ours or episode.meta.purpose == "demonstration"
        self._held[episode.meta.id] = episode if at_hand else None

    def drop(self, episode: str) -> None:
        """Nobody is to learn from it; whoever has its id can still open it."""
        self._held.pop(episode, None)
        self._pictures.forget(episode)

    def __getitem__(self, id: str) -> Episode:
        return self._pictures.remembering(self.open(id))

    def open(self, id: str) -> Episode:
        """The same, for one who looks once."""
        held = self._held.get(id)
        return self._fetch(id) if held is None else held  # an empty one is false

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


class Training(Mapping[str, Episode]):
    """Those of an archive that no filter leaves out."""

    def __init__(self, archive: Archive, selection: Selection) -> None:
        self._archive, self._selection = archive, selection

    def __getitem__(self, id: str) -> Episode:
        return self._archive[id]

    def __iter__(self) -> Iterator[str]:
        left_out = self._selection.ids_left_out
        return (id for id in self._archive if id not in left_out)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Relabelling:
    """Keeps the buffer under one label version. `work` is for another thread; all else is the training loop's.

    Attributes:
        alarm: the last episode that could not be labelled anew, and so is held no more; empty if there was none.
    """

    def __init__(self, algorithm: Algorithm, buffer: ExperienceBuffer, archive: Archive) -> None:
        self._algorithm, self._buffer, self._archive = algorithm, buffer, archive
        self._training = Training(archive, buffer.selection)
        self._refresh: Refresh | None = None
        self._left_out: deque[str] = deque()  # by filters; the refresh has yet to label these
        self.alarm = ""

    def admitted(self, prepared: Prepared, *, ours: bool = False) -> Prepared:
        """Note what is about to be held; the same under the version in force, if it was labelled under another.

        `ours`: it comes from this machine's disk, and the hub knows nothing of it.
        """
        episode = prepared.episode
        self._archive.hold(episode, ours=ours)
        if self._refresh is not None:
            self._refresh.add(episode)
        if prepared.labels.version == self._algorithm.version:
            return prepared
        return replace(prepared, labels=labelled_by(lambda: self._algorithm.label(episode), episode.meta.id))

    def retired(self, episode: str) -> None:
        """It is held no more."""
        self._archive.drop(episode)

    def step(self, step: int) -> bool:
        """Between two optimizer steps: switch if the next version is ready, else begin one if it is due.

        Returns whether it switched. Raises LabelsInvalid if the next version is about other samples.
        """
        if self._refresh is None:
            self._begin(step)
            return False
        if self._left_out or not self._refresh.ready:  # in this order: `work` adds one before it lets go of it
            return False
        self._algorithm.switch(self._refresh)
        labels = self._refresh.labels
        for episode, found in labels.items():
            self._buffer.relabel(episode, found)
        for episode in [id for id in self._archive if id not in labels and self._buffer.episodes.samples_of(id)]:
            self.retired(episode)
            self._buffer.retire(episode)
            self.alarm = f"episode {episode} can't be used: it can't be read any more, and would keep its old labels"
        self._refresh = None
        return True

    def _begin(self, step: int) -> None:
        """What filters leave out makes no version, but has its labels once it comes back."""
        refresh = self._algorithm.refresh(self._training, step)
        if refresh is not None:
            training = set(self._training)
            self._left_out = deque(id for id in self._archive if id not in training)
        self._refresh = refresh

    def work(self) -> bool:
        """One slice of what makes the next version; False if there is nothing to do. Raises HubUnavailable."""
        refresh = self._refresh
        if refresh is None:
            return False
        if not refresh.ready:
            refresh.work()
        elif self._left_out:
            self._add(refresh, self._left_out[0])
            self._left_out.popleft()
        else:
            return False
        return True

    def _add(self, refresh: Refresh, episode: str) -> None:
        try:
            refresh.add(self._archive.open(episode))
        except (EpisodeInvalid, HubRefused) as error:
            log.warning("%s is left out: %s", episode, error)
