"""Pictures of whole episodes, decoded once, for algorithms that look at them again with every label version."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from fleetloop.core.disk import Disk
from fleetloop.core.episode import Episode

Images = npt.NDArray[np.uint8]


class PictureCache:
    """Decoded pictures in files, at most `most_bytes` of them; what was not looked at for the longest goes first.

    A disk that is full is a limit too. Any thread may look. The directory is scratch: what an earlier process left
    there is removed.
    """

    def __init__(self, disk: Disk, directory: Path, most_bytes: int) -> None:
        self._disk, self._directory, self._most_bytes = disk, directory, most_bytes
        self._lock = Lock()
        self._held: OrderedDict[Path, int] = OrderedDict()
        disk.make(directory)
        for path in directory.iterdir():
            disk.remove(path)

    def remembering(self, episode: Episode) -> Episode:
        """The same episode; its pictures are decoded once for as long as there is room."""
        return _Remembered(episode, self)

    def look(self, episode: Episode, camera: str, height: int, width: int) -> Images:
        """(T, height, width, 3): all frames. Raises EpisodeInvalid."""
        file = quote(f"{episode.meta.id}-{camera}-{height}x{width}", safe="")
        path, shape = self._directory / file, (len(episode), height, width, 3)
        with self._lock:
            if path in self._held:
                self._held.move_to_end(path)
                return np.asarray(np.memmap(path, np.uint8, "r", shape=shape))
        images = episode.pictures(camera, np.arange(len(episode)), height, width)
        with self._lock:
            self._keep(path, images)
        return images

    def forget(self, episode: str) -> None:
        """Remove what was decoded of an episode: nobody is to learn from it."""
        with self._lock:
            for path in [path for path in self._held if path.name.startswith(f"{episode}-")]:
                del self._held[path]
                self._disk.remove(path)

    def _keep(self, path: Path, images: Images) -> None:
        if path in self._held or not 0 < images.nbytes <= self._most_bytes:
            return
        while self._held and sum(self._held.values()) + images.nbytes > self._most_bytes:
            self._disk.remove(self._held.popitem(last=False)[0])
        try:
            images.tofile(path)
        except OSError:
            self._disk.remove(path)
            self._most_bytes = sum(self._held.values())  # there is no room for more
            return
        self._held[path] = images.nbytes


class _Remembered(Episode):
    """An episode whose pictures come from the cache."""

    def __init__(self, episode: Episode, cache: PictureCache) -> None:
        super().__init__(episode._batch, episode.meta)
        self._plain, self._cache = episode, cache

    def pictures(self, camera: str, frames: npt.NDArray[np.integer], height: int, width: int) -> Images:
        looked: Images = self._cache.look(self._plain, camera, height, width)[frames]
        return looked
