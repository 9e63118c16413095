"""The recorder: durable before the next episode, loud when the disk fails or is too slow."""

import errno
import io

import numpy as np
from PIL import Image
from slider import Slider, with_camera
from stage import Stage

from fleetloop.actor.options import ActorOptions, RecorderOptions
from fleetloop.actor.recorder import encode_jpeg
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble
from fleetloop.core.outcome import Outcome


class FailingDisk(RealDisk):
    """Refuses what is named in `failing`, as a full disk would."""

    def __init__(self):
        self.failing, self.synced = set(), 0

    def create(self, path):
        if "create" in self.failing:
            raise DiskTrouble(str(path), "the disk is full", "free some space")
        return super().create(path)

    def sync(self, file):
        if "sync" in self.failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.synced += 1
        super().sync(file)


def test_the_next_episode_waits_until_the_last_one_is_durable(tmp_path):
    stage = Stage(tmp_path, disk=FailingDisk())
    stage.install(1)
    stage.until(lambda: stage.status.phase == "running")
    while stage.status.episodes == 0:
        stage.actor.step(stage.clock.now())
        stage.clock.sleep_until(stage.actor.due)
    for _ in range(50):  # the recorder's thread does not come round
        stage.actor.step(stage.clock.now())
        stage.clerk.load()
        stage.clock.sleep_until(stage.actor.due)
    assert stage.status.phase == "resetting"
    assert stage.disk.synced == 0
    stage.recorder.step(stage.clock.now())
    assert stage.disk.synced == 1
    stage.actor.step(stage.clock.now())
    stage.until(lambda: stage.status.phase == "running")


def test_a_full_disk_stops_the_recording_with_an_alarm_and_driving_goes_on(tmp_path):
    stage = Stage(tmp_path, disk=FailingDisk())
    stage.disk.failing = {"create"}
    stage.install(1)
    assert stage.play(2) == []
    assert "recording stopped" in stage.status.alarm
    assert "the disk is full" in stage.status.alarm
    stage.disk.failing = set()
    (episode,) = stage.play(1)
    assert episode.meta.outcome is Outcome.TIMEOUT
    assert stage.status.alarm == ""


def test_an_ending_that_may_not_have_reached_the_disk_is_no_quiet_success(tmp_path):
    stage = Stage(tmp_path, disk=FailingDisk())
    stage.disk.failing = {"sync"}
    stage.install(1)
    stage.until(lambda: stage.status.episodes == 1)
    stage.until(lambda: stage.status.phase == "running")
    assert "recording stopped" in stage.status.alarm
    assert stage.disk.synced == 0


def test_too_slow_a_disk_aborts_the_episode_and_drops_no_frame_before(tmp_path):
    stage = Stage(tmp_path, options=ActorOptions(recorder=RecorderOptions(queue_frames=10)))
    stage.install(1)
    stage.until(lambda: stage.status.phase == "running")
    while stage.status.episodes == 0:  # the recorder's thread does not come round
        stage.actor.step(stage.clock.now())
        stage.clock.sleep_until(stage.actor.due)
    assert "the disk is too slow" in stage.status.alarm
    stage.until(lambda: stage.recorder.settled)
    (episode,) = stage.episodes()
    assert episode.meta.outcome is Outcome.ABORTED
    assert episode.column("tick").tolist() == list(range(len(episode)))
    assert len(episode) in (9, 10)


def test_images_are_recorded_with_the_time_they_were_taken_at(tmp_path):
    stage = Stage(tmp_path, robot=Slider(spec=with_camera()))
    stage.install(1)
    (episode,) = stage.play(1)
    image = np.asarray(Image.open(io.BytesIO(episode.jpeg("top", 9))))
    assert image.shape == (16, 24, 3)
    assert abs(image.astype(int) - 9).max() <= 2
    assert (episode.column("image_taken.top") == episode.column("clock_s")).all()


def test_an_image_that_is_a_view_of_another_is_recorded_as_it_looks():
    image = np.zeros((16, 24, 3), np.uint8)
    image[:, :12] = (250, 20, 20)
    mirrored = np.asarray(Image.open(io.BytesIO(encode_jpeg(image[:, ::-1], 90))))
    assert abs(mirrored[:, 14:].astype(int) - (250, 20, 20)).max() <= 4
    assert mirrored[:, :10].max() <= 4
