"""What `lab chaos` counts: against a real hub and a real spool, with every loss that it must be able to see."""

import os

import numpy as np
import pytest

from fleetloop.cli.chaos.count import PROMISES, broken, counted
from fleetloop.cli.chaos.witness import Witness
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import Recording
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.spool import REFUSED, Spool
from fleetloop.courier.uploader import Uploader
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService

SPEC = RobotSpec("slider", (FeatureSpec("count", (1,)),), FeatureSpec("target", (1,)), 20.0)
RNG = np.random.default_rng(0)


class Host:
    """A spool, the witness beside it, the courier's uploader, and the hub that it goes to."""

    def __init__(self, place, hub):
        self.spool, self.hub = place / "spool", hub
        self.witness = Witness(self.spool)
        options, alarms = CourierOptions(), Alarms()
        self._uploader = Uploader(Spool(self.spool, RealDisk(), alarms), hub, options, Backoff(options, RNG), alarms)

    def record(self, task="slide/far"):
        """A recording of two batches, of 3 frames and of 2; its file, and its size after the first of them."""
        meta = EpisodeMeta(new_id(1.7e9, RNG), "run", "robot-1", "site-1", task, "slide", "online", SPEC)
        recording = Recording(RealDisk(), self.spool, meta)
        for tick in range(5):
            value = np.array([tick], np.float32)
            seen = Observation({"count": value}, taken=tick / 20)
            recording.add(Frame(tick, tick / 20, 1.7e9, seen, value, value, Source.POLICY, 1, 0, tick))
            if tick == 2:
                recording.flush()
                size = recording.path.stat().st_size
        recording.finish(Ending(Outcome.SUCCESS, Judge.SIMULATOR))
        return recording.path, size

    def deliver(self):
        while any(path.is_file() for path in self.spool.iterdir()):
            self._uploader.step()
        return counted(self.hub, self.witness.frames, self.spool / REFUSED)


@pytest.fixture
def host(tmp_path):
    hub = HubService.open(HubOptions(directory=tmp_path / "hub"), Virtual(), RealDisk(), ("slide/far",))
    (tmp_path / "spool").mkdir()
    yield Host(tmp_path, hub)
    hub.close()


def test_what_is_kept_breaks_no_promise(host):
    host.record()
    torn, size = host.record()
    os.truncate(torn, size + 10)  # its writer was killed in the middle of a batch
    (host.spool / f"{new_id(1.7e9, RNG)}.partial").write_bytes(b"no head")
    host.witness.look()
    found = host.deliver()
    assert (found["recorded"], found["stored"], found["frames"], found["aborted"]) == (3, 2, 8, 1)
    assert found["without_a_whole_frame"] == 1
    assert {name: found[name] for name in PROMISES if found[name]} == {}
    assert broken(found) == ""


def test_frames_that_were_lost_on_the_host_are_seen(host):
    path, size = host.record()
    host.witness.look()
    os.truncate(path, size)  # what the courier seals is sound, and shorter than what was there
    found = host.deliver()
    assert found["shortened"] == [f"{path.stem}: 3 of 5 frames"]
    assert broken(found) == "1 shortened"


def test_a_recording_that_had_frames_and_can_not_be_read_any_more_is_no_frameless_one(host):
    path, _ = host.record()
    host.witness.look()
    path.write_bytes(b"nothing of it is left")
    found = host.deliver()
    assert found["without_a_whole_frame"] == 0
    assert broken(found) == "1 refused"
    assert "no readable head" in found["refused"][0]


def test_a_hub_that_refuses_sound_episodes_breaks_a_promise(host):
    path, _ = host.record(task="slide/unknown")
    host.witness.look()
    found = host.deliver()
    assert found["refused"][0].startswith(f"{path.stem}: ")
    assert "slide/unknown" in found["refused"][0]
    assert broken(found) == "1 refused"


def test_a_recording_that_is_gone_is_lost(host):
    path, _ = host.record()
    host.witness.look()
    path.unlink()
    assert host.deliver()["lost"] == [path.stem]


def test_a_recording_that_was_seen_only_when_it_was_sealed_counts_too(host):
    path, _ = host.record()
    Spool(host.spool, RealDisk(), Alarms()).seal_finished()
    host.witness.look()
    assert host.witness.frames == {path.stem: 5}
