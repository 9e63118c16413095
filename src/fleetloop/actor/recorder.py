"""From the control loop's frames to a durable recording, off the loop."""

from collections import deque
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg

from fleetloop.actor.options import RecorderOptions
from fleetloop.core.alarm import Alarms
from fleetloop.core.disk import Disk
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.errors import DiskTrouble
from fleetloop.core.frame import Frame
from fleetloop.core.outcome import Outcome
from fleetloop.core.recording import Recording

DISK, QUEUE = "recorder", "recorder queue"


class EpisodeWriter:
    """A recording that compresses the images of its frames. Every call may raise DiskTrouble."""

    def __init__(self, disk: Disk, directory: Path, meta: EpisodeMeta, jpeg_quality: int) -> None:
        self._recording = Recording(disk, directory, meta)
        self._cameras = [camera.name for camera in meta.spec.cameras]
        self._jpeg_quality = jpeg_quality
        self._begun = False

    @property
    def path(self) -> Path:
        return self._recording.path

    def add(self, frame: Frame) -> None:
        images = frame.observation.images
        self._recording.add(frame, {name: encode_jpeg(images[name], self._jpeg_quality) for name in self._cameras})
        if not self._begun:  # from its first frame on, a crash leaves an episode behind
            self._begun = True
            self._recording.flush()

    def flush(self) -> None:
        self._recording.flush()

    def finish(self, ending: Ending) -> None:
        self._recording.finish(ending)

    def abandon(self) -> None:
        self._recording.abandon()


class Recorder:
    """A bounded queue between the control loop, which only hands over, and a thread that calls `step`.

    A full queue ends the episode (`add` says so). A disk that can't be written stops the recording of the running
    episode with an alarm, and the next episode tries again: driving may go on.
    """

    def __init__(self, disk: Disk, directory: Path, options: RecorderOptions, alarms: Alarms) -> None:
        self._disk, self._directory, self._options, self._alarms = disk, directory, options, alarms
        self._queue: deque[EpisodeMeta | Frame | Ending] = deque()  # append and popleft are atomic
        self._handed_over = 0
        self._settled = 0
        self._writer: EpisodeWriter | None = None
        self._flush_due = 0.0

    # ------------------------------------------------------------------ the control loop's side

    def begin(self, meta: EpisodeMeta) -> None:
        self._queue.append(meta)

    def add(self, frame: Frame) -> bool:
        """False if the queue is full and the frame was not taken: the episode must end as aborted."""
        if len(self._queue) >= self._options.queue_frames:
            self._alarms.set(QUEUE, f"the disk is too slow: {len(self._queue)} frames wait; the episode was aborted")
            return False
        self._queue.append(frame)
        return True

    def end(self, ending: Ending) -> None:
        self._handed_over += 1
        self._queue.append(ending)

    @property
    def settled(self) -> bool:
        """Whether every episode that was ended is on the disk for good, or was given up with an alarm."""
        return self._settled == self._handed_over

    # ------------------------------------------------------------------ the recorder's thread

    def step(self, now: float) -> None:
        """Write what is waiting."""
        while self._queue:
            item = self._queue.popleft()
            try:
                self._write(item)
            except DiskTrouble as error:
                self._give_up(error)
            self._settled += isinstance(item, Ending)
        if self._writer is not None and now >= self._flush_due:
            self._flush_due = now + self._options.flush_s
            try:
                self._writer.flush()
            except DiskTrouble as error:
                self._give_up(error)

    def _write(self, item: EpisodeMeta | Frame | Ending) -> None:
        if isinstance(item, EpisodeMeta):
            self._check_budget()
            self._writer = EpisodeWriter(self._disk, self._directory, item, self._options.jpeg_quality)
        elif self._writer is None:
            return  # given up; the alarm has said so
        elif isinstance(item, Frame):
            self._writer.add(item)
        else:
            self._writer.finish(item)
            self._writer = None
            self._alarms.clear(DISK)
            if item.outcome is not Outcome.ABORTED:
                self._alarms.clear(QUEUE)

    def _check_budget(self) -> None:
        """Whatever the hub has is gone from the spool at once, so there is nothing to make room with."""
        spare, free = self._options.spare_bytes, self._disk.free(self._directory)
        if free < spare:
            raise DiskTrouble(
                str(self._directory),
                f"has {free} bytes left, and actor.recorder.spare_bytes keeps {spare}",
                "free some space, let the courier reach the hub, or use `fleetloop spool export --move`",
            )
        budget, waiting = self._options.spool_bytes, spooled_bytes(self._directory)
        if budget is not None and waiting >= budget:
            raise DiskTrouble(
                str(self._directory),
                f"holds {waiting} bytes, and actor.recorder.spool_bytes allows {budget}",
                "let the courier reach the hub, or look at `fleetloop spool ls`",
            )

    def _give_up(self, error: DiskTrouble) -> None:
        self._alarms.set(DISK, f"recording stopped: {error}")
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None


def spooled_bytes(directory: Path) -> int:
    """What the files in a spool take, the refused ones too."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # the courier was quicker
            continue
    return total


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    """(height, width, 3) uint8 as JPEG. Other threads run meanwhile."""
    image = np.ascontiguousarray(image)
    jpeg: bytes = simplejpeg.encode_jpeg(image, quality, colorspace="RGB", colorsubsampling="420")
    return jpeg
