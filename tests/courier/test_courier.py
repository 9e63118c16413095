"""The courier's parts, advanced by hand, with a real directory and a hub in memory."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spooled import ROBOT, FakeHub, episode_id, record

from fleetloop.core import host
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import DiskTrouble, HubRefused, HubUnavailable, SpecMismatch
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import Orders, Registration, RobotStatus
from fleetloop.core.outcome import Outcome
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.herald import Herald
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.pins import PinFetcher
from fleetloop.courier.spool import Spool
from fleetloop.courier.uploader import Uploader
from fleetloop.weights.codec import from_safetensors, verify
from fleetloop.weights.signature import Trust, make_key

# Every look is a beat.
OPTIONS = CourierOptions(poll_wall_s=0.0, keep_releases=2, silent_wall_s=1.0, beat_wall_s=0.25, look_wall_s=0.25)


class Courier:
    def __init__(self, root, disk=None):
        self.alarms = Alarms()
        self.host = HostDirectory(root / "host", RealDisk())
        self.hub = FakeHub(root / "hub")
        backoff = Backoff(OPTIONS, np.random.default_rng(0))
        self.spool = Spool(self.host.spool, disk or RealDisk(), self.alarms)
        self.uploader = Uploader(self.spool, self.hub, OPTIONS, backoff, self.alarms)
        self.fetcher = Fetcher(
            self.host, self.hub, options=OPTIONS, backoff=backoff, alarms=self.alarms, clock=Virtual()
        )
        self.pins = PinFetcher(self.fetcher, self.host, self.hub, options=OPTIONS, backoff=backoff, alarms=self.alarms)
        self.herald = Herald(self.host, self.hub, OPTIONS, backoff, self.alarms, refused=lambda: self.pins.refused)

    def drain(self):
        while not self.uploader.idle or list(self.host.spool.glob("*.partial")):
            self.uploader.step()

    def files(self):
        return sorted(path.name for path in self.host.spool.iterdir() if path.is_file())


@pytest.fixture
def courier(tmp_path):
    return Courier(tmp_path)


# ---------------------------------------------------------------------- episodes up


def test_episodes_go_up_oldest_first_and_leave_the_spool(courier):
    ids = [record(courier.host, number) for number in (3, 1, 2)]
    courier.drain()
    assert courier.hub.received == sorted(ids)
    assert courier.files() == []
    episode = Episode.open(courier.hub.directory / f"{ids[0]}.arrow")
    assert (len(episode), episode.meta.outcome) == (5, Outcome.SUCCESS)


def test_an_episode_whose_writer_died_goes_up_as_aborted(courier):
    id = record(courier.host, 1, frames=7, ending=None)
    courier.drain()
    episode = Episode.open(courier.hub.directory / f"{id}.arrow")
    assert (len(episode), episode.meta.outcome) == (7, Outcome.ABORTED)


def test_a_recording_under_way_is_left_alone(courier):
    with RealDisk().create(courier.host.spool / f"{episode_id(1)}.partial"):
        courier.uploader.step()
        assert courier.files() == [f"{episode_id(1)}.partial"]


def test_a_recording_that_never_began_leaves_nothing(courier):
    (courier.host.spool / f"{episode_id(1)}.partial").touch()
    courier.drain()
    assert courier.files() == []
    assert courier.alarms.text == ""


def test_with_the_hub_away_episodes_stay_and_then_catch_up(courier):
    courier.hub.away = True
    ids = [record(courier.host, number) for number in range(3)]
    pauses = [courier.uploader.step() for _ in range(8)]
    assert courier.files() == [f"{id}.arrow" for id in ids]
    assert "can't be reached" in courier.alarms.text
    assert pauses[-1] > 4 * pauses[0]
    courier.hub.away = False
    courier.drain()
    assert courier.hub.received == ids
    assert courier.alarms.text == ""


def test_an_acknowledgement_that_got_lost_leads_to_no_second_entry(courier):
    class Forgetful(FakeHub):
        def put_episode(self, id, path, hash):
            said = super().put_episode(id, path, hash)
            if not said.known:
                raise HubUnavailable("http://hub", "hung up")
            return said

    courier.uploader._hub = hub = Forgetful(courier.hub.directory)
    id = record(courier.host, 1)
    courier.uploader.step()
    assert courier.files() == [f"{id}.arrow"]
    courier.drain()
    assert hub.received == [id]


def test_a_refused_episode_is_set_aside_with_its_reason_and_the_next_one_goes_up(courier):
    ids = [record(courier.host, number) for number in range(2)]
    courier.hub.refuse[ids[0]] = HubRefused("task", "'slide/far' is not one of this fleet's", "known: box/walls", 422)
    courier.drain()
    assert courier.hub.received == [ids[1]]
    aside = courier.host.spool / "refused"
    assert (aside / f"{ids[0]}.arrow").exists()
    assert "'slide/far'" in json.loads((aside / f"{ids[0]}.arrow.reason.json").read_text())["reason"]
    assert "'slide/far'" in courier.alarms.text
    reborn = Alarms()
    Spool(courier.host.spool, RealDisk(), reborn)
    assert "'slide/far'" in reborn.text


def test_a_courier_starts_although_a_reason_was_lost(courier):
    aside = courier.host.spool / "refused"
    (aside / f"{episode_id(1)}.arrow").touch()
    (aside / f"{episode_id(1)}.arrow.reason.json").write_bytes(b'{"rea')
    reborn = Alarms()
    Spool(courier.host.spool, RealDisk(), reborn)
    assert "nobody wrote down why" in reborn.text


def test_a_torn_file_is_set_aside_and_blocks_nothing(courier):
    ids = [record(courier.host, number) for number in range(2)]
    partial = courier.host.spool / f"{ids[0]}.partial"
    partial.write_bytes(partial.read_bytes()[:20])
    courier.drain()
    assert courier.hub.received == [ids[1]]
    assert (courier.host.spool / "refused" / f"{ids[0]}.partial").exists()


@pytest.mark.parametrize("status", [401, 429])
def test_a_refusal_of_the_courier_keeps_the_episode_waiting(courier, status):
    id = record(courier.host, 1)
    courier.hub.refuse[id] = HubRefused("token", "is unknown", "ask for a new one", status)
    courier.uploader.step()
    assert courier.files() == [f"{id}.arrow"]
    assert "token" in courier.alarms.text


class Full(RealDisk):
    full = True

    def write(self, path, data):
        if self.full:
            raise DiskTrouble(str(path), "the disk is full", "free some space")
        super().write(path, data)


def test_on_a_full_disk_nothing_is_lost(tmp_path):
    disk = Full()
    courier = Courier(tmp_path, disk)
    id = record(courier.host, 1)
    courier.uploader.step()
    assert courier.files() == [f"{id}.partial"]
    assert "the disk is full" in courier.alarms.text
    assert not courier.uploader.idle
    disk.full = False
    courier.drain()
    assert courier.hub.received == [id]
    assert courier.alarms.text == ""


def test_a_disk_too_full_to_seal_on_is_emptied_of_what_was_sealed_before(tmp_path):
    disk = Full()
    courier = Courier(tmp_path, disk)
    sealed = [record(courier.host, number) for number in (1, 2)]
    disk.full = False
    courier.spool.seal_finished()
    disk.full = True
    late = record(courier.host, 3)
    for _ in range(3):
        courier.uploader.step()
    assert courier.hub.received == sealed
    assert courier.files() == [f"{late}.partial"]
    assert "the disk is full" in courier.alarms.text
    disk.full = False
    courier.drain()
    assert courier.hub.received == [*sealed, late]


def test_what_the_disk_no_longer_reads_is_set_aside_and_blocks_nothing(courier):
    unreadable = courier.host.spool / f"{episode_id(0)}.arrow"
    unreadable.mkdir()  # reading it fails as it does from a bad sector
    (unreadable / "something").touch()
    id = record(courier.host, 1)
    courier.drain()
    assert courier.hub.received == [id]
    assert "can't be read" in courier.alarms.text
    assert (courier.host.spool / "refused" / unreadable.name).exists()


@given(st.integers(0, 2**32), st.integers(1, 50))
def test_pauses_double_with_jitter_up_to_a_limit(seed, failures):
    backoff = Backoff(OPTIONS, np.random.default_rng(seed))
    pauses = [backoff.failed() for _ in range(failures)]
    for count, pause in enumerate(pauses):
        whole = min(OPTIONS.retry_first_wall_s * 2**count, OPTIONS.retry_longest_wall_s)
        assert whole / 2 <= pause <= whole
    backoff.succeeded()
    assert backoff.failed() <= OPTIONS.retry_first_wall_s


# ---------------------------------------------------------------------- releases down


def test_releases_are_verified_installed_and_old_ones_forgotten(courier):
    for version in range(1, 6):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
        installed, data = courier.host.current()
        assert installed.version == version
        verify(installed, from_safetensors(data))
    assert sorted(path.name for path in courier.host.releases.glob("*.json")) == ["00000004.json", "00000005.json"]


def test_what_a_crash_left_of_releases_is_removed_at_the_next_start(courier):
    for version in (1, 2):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
    (courier.host.releases / "00000001.json").unlink()  # killed while it forgot this one,
    (courier.host.releases / ".00000003.safetensors.4711.tmp").write_bytes(b"half")  # and while it wrote that one
    courier.host.forget_halves()
    left = {path.name for path in courier.host.releases.iterdir()}
    assert left == {"00000002.json", "00000002.safetensors", "current", "installed"}


def test_the_log_of_installed_releases_stays_short(courier, monkeypatch):
    monkeypatch.setattr(host, "LOG_BYTES", 500)
    for version in range(100):
        courier.host.log_installed(version, 0.0, 1)
    lines = [json.loads(line)["version"] for line in (courier.host.releases / "installed").read_text().splitlines()]
    assert lines == list(range(lines[0], 100))
    assert sum(path.stat().st_size for path in courier.host.releases.glob("installed*")) < 1200


def test_a_rollback_is_followed_and_its_release_kept(courier):
    for version in (1, 2, 3, 4, 2):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
    release, data = courier.host.current()
    assert release.version == 2
    assert len(data) > 0


@pytest.mark.parametrize("wrong", ["blob", "tensor", "result", "codec"])
def test_a_release_that_cannot_be_verified_changes_nothing(courier, wrong):
    courier.hub.publish(1, 1.0)
    courier.fetcher.step()
    good = courier.hub.publish(2, 2.0)
    blobs = dict(courier.hub.blobs)
    if wrong == "blob":
        courier.hub.blobs[good.blobs[0].hash] = b"x" * good.blobs[0].size
    if wrong == "tensor":
        entry = dataclasses.replace(good.tensors[0], hash="0" * 64)
        courier.hub.stable = dataclasses.replace(good, tensors=(entry,))
    if wrong == "result":
        courier.hub.stable = dataclasses.replace(good, result_hash="0" * 64)
    if wrong == "codec":
        courier.hub.stable = dataclasses.replace(
            good, encodings=(dataclasses.replace(good.encodings[0], codec="newer/9"),)
        )
    before = {path: path.read_bytes() for path in courier.host.releases.iterdir()}
    assert courier.fetcher.step() > 0
    assert {path: path.read_bytes() for path in courier.host.releases.iterdir()} == before
    assert "keeps release 1" in courier.alarms.text
    courier.hub.stable, courier.hub.blobs = good, blobs
    courier.fetcher.step()
    assert courier.host.current_version() == 2
    assert courier.alarms.text == ""


def test_a_host_that_forgot_which_release_it_runs_fetches_it_again(courier):
    courier.hub.publish(1, 1.0)
    courier.fetcher.step()
    (courier.host.releases / "current").write_bytes(b"")  # as after a power cut, on a disk that lies
    assert courier.host.current() is None
    courier.fetcher.step()
    assert courier.host.current_version() == 1


def test_what_the_pinned_key_has_not_signed_never_comes_onto_the_host(courier, tmp_path):
    signer, stranger = make_key(tmp_path / "release.key"), make_key(tmp_path / "stranger.key")
    courier.fetcher._trust = Trust("run", (signer.public,))
    unsigned = courier.hub.publish(1, 1.0)
    for manifest in (unsigned, stranger.sign(unsigned)):
        courier.hub.stable = manifest
        courier.fetcher.step()
        assert courier.host.current_version() == 0
        assert courier.host.versions() == []
        assert "signature" in courier.alarms.text
    courier.hub.stable = signer.sign(unsigned)
    courier.fetcher.step()
    assert courier.host.current()[0].signature == courier.hub.stable.signature
    assert courier.alarms.text == ""


def test_a_rollback_to_what_is_still_there_costs_no_download(courier):
    first = courier.hub.publish(1, 1.0)
    courier.fetcher.step()
    courier.hub.publish(2, 2.0)
    courier.fetcher.step()
    courier.hub.stable, courier.hub.blobs = first, {}
    courier.fetcher.step()
    assert courier.host.current_version() == 1


def test_what_is_damaged_on_the_disk_is_fetched_again(courier):
    first = courier.hub.publish(1, 1.0)
    courier.fetcher.step()
    courier.hub.publish(2, 2.0)
    courier.fetcher.step()
    path = courier.host.releases / "00000001.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    courier.hub.stable = first
    courier.fetcher.step()
    release, data = courier.host.current()
    verify(release, from_safetensors(data))


def test_releases_that_robots_are_pinned_to_are_fetched_and_kept(courier):
    courier.hub.publish(1, 1.0)
    for version in (2, 3, 4):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
    courier.host.post_orders(Orders("robot-1", release=1))
    courier.pins.step()
    assert courier.host.versions() == [4, 3, 1]
    for version in (5, 6):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
    assert courier.host.versions() == [6, 5, 1]
    assert courier.host.current_version() == 6
    courier.host.post_orders(Orders("robot-1"))
    courier.hub.publish(7, 7.0)
    courier.fetcher.step()
    assert courier.host.versions() == [7, 6]


def test_a_pin_that_can_not_be_followed_is_said(courier):
    courier.host.post_orders(Orders("robot-1", release=9))
    assert courier.pins.step() > 0
    assert "there is no release 9" in courier.alarms.text


def test_what_the_courier_refuses_in_a_robots_place_reaches_the_hub(courier, tmp_path):
    """Not what it could not get for now."""
    join(courier)
    join(courier, "robot-2")
    courier.hub.publish(1, 1.0)
    courier.host.post_orders(Orders("robot-1", release=1))
    courier.hub.cut_after = 5
    courier.pins.step()
    courier.herald.step()
    assert [status.refused for status in courier.hub.beaten[-1]] == [0, 0]
    courier.hub.cut_after = None
    courier.fetcher._trust = Trust("another run")
    courier.host.post_orders(Orders("robot-1", release=1))
    courier.pins.step()
    courier.herald.step()
    refusing, other = courier.hub.beaten[-1]
    assert (refusing.refused, other.refused) == (1, 0)
    assert "not 'another run'" in refusing.alarm
    courier.host.post_orders(Orders("robot-1"))
    courier.pins.step()
    assert courier.pins.refused == frozenset()


# ---------------------------------------------------------------------- a download that breaks off


@pytest.fixture
def begun(courier):
    """A release of which 40 bytes have come when the courier ended; and the next courier."""
    courier.manifest = courier.hub.publish(1, 1.0)
    courier.hub.cut_after = 40
    courier.fetcher.step()
    assert "hung up" in courier.alarms.text
    courier.hub.cut_after, courier.hub.fetched = None, 0
    courier.fetcher = Fetcher(
        courier.host,
        courier.hub,
        options=OPTIONS,
        backoff=Backoff(OPTIONS, np.random.default_rng(0)),
        alarms=courier.alarms,
        clock=Virtual(),
    )
    return courier


def kept(courier):
    return {path.name: path.stat().st_size for path in courier.host.downloads.iterdir()}


def test_the_next_courier_fetches_the_rest_alone(begun):
    (blob,) = begun.manifest.blobs
    assert kept(begun) == {blob.hash: 40}
    begun.fetcher.step()
    assert begun.host.current_version() == 1
    assert begun.hub.fetched == blob.size - 40
    assert kept(begun) == {}


def test_what_had_come_whole_is_not_fetched_again(begun):
    (blob,) = begun.manifest.blobs
    (begun.host.downloads / blob.hash).write_bytes(begun.hub.blobs[blob.hash])
    begun.fetcher.step()
    assert (begun.host.current_version(), begun.hub.fetched) == (1, 0)


@pytest.mark.parametrize("torn", [bytes(40), bytes(10_000)])
def test_what_a_power_cut_has_torn_is_fetched_anew(begun, torn):
    (blob,) = begun.manifest.blobs
    (begun.host.downloads / blob.hash).write_bytes(torn)
    begun.fetcher.step()
    assert begun.host.current_version() == 1


def test_other_bytes_than_the_hash_says_are_kept_by_nobody(begun):
    (blob,) = begun.manifest.blobs
    begun.hub.blobs[blob.hash] = bytes(blob.size)
    begun.fetcher.step()
    assert "other bytes than its hash says" in begun.alarms.text
    assert (begun.host.versions(), kept(begun)) == ([], {})


def test_a_name_that_is_no_hash_names_no_file(begun):
    path = begun.host.root / "spool" / "theirs"
    blob = dataclasses.replace(begun.manifest.blobs[0], hash="../spool/theirs")
    encoding = dataclasses.replace(begun.manifest.encodings[0], blobs=(blob,))
    begun.hub.blobs[blob.hash] = b"anything"
    begun.hub.stable = dataclasses.replace(begun.manifest, encodings=(encoding,))
    begun.fetcher.step()
    assert "named by no hash" in begun.alarms.text
    assert not path.exists()


def test_what_is_left_of_releases_that_never_came_takes_no_more_room_than_one(begun):
    for number in range(50):
        (begun.host.downloads / f"{number:064x}").write_bytes(bytes(100))
    begun.hub.cut_after = 40
    begun.fetcher.step()
    (blob,) = begun.manifest.blobs
    assert sum(kept(begun).values()) <= 4 + blob.size + 40


def test_without_a_hub_the_old_release_stays_and_the_alarm_says_so(courier):
    courier.hub.away = True
    courier.fetcher.step()
    assert courier.host.current() is None
    assert "can't be reached" in courier.alarms.text


# ---------------------------------------------------------------------- robots


def join(courier, robot="robot-1", **status):
    courier.host.post_registration(Registration(robot, "host", "site-1", ("slide/far",), ROBOT))
    courier.host.post_status(RobotStatus(robot, "running", **status))


def test_robots_are_registered_and_beaten_for_and_get_their_orders(courier):
    join(courier, frames=7)
    join(courier, "robot-2")
    courier.herald.step()
    assert set(courier.hub.registered) == {"robot-1", "robot-2"}
    assert [status.robot for status in courier.hub.beaten[-1]] == ["robot-1", "robot-2"]
    assert courier.hub.beaten[-1][0].frames == 7
    assert courier.host.orders("robot-1").attention_until == 42.0


def test_a_hub_that_lost_its_memory_gets_the_robots_again(courier):
    join(courier)
    courier.herald.step()
    courier.hub.registered.clear()
    courier.herald.step()
    courier.herald.step()
    assert set(courier.hub.registered) == {"robot-1"}


def test_a_robot_that_comes_back_different_is_registered_anew(courier):
    join(courier)
    courier.herald.step()
    courier.host.post_registration(Registration("robot-1", "host", "site-9", ("slide/far",), ROBOT))
    courier.herald.step()
    assert courier.hub.registered["robot-1"].site == "site-9"


def test_a_robot_that_does_not_fit_is_told_why_and_the_others_go_on(courier):
    courier.hub.misfit = SpecMismatch("count", "the policy needs float32[2]; the robot offers float32[1]")
    join(courier)
    courier.herald.step()
    assert "the robot offers float32[1]" in courier.host.orders("robot-1").alarm
    assert courier.hub.beaten == []
    courier.hub.misfit = None
    courier.herald.step()
    assert courier.host.orders("robot-1").alarm == ""


def test_nobody_speaks_for_an_actor_that_died(courier):
    join(courier)
    join(courier, "robot-2")
    for count in range(10):
        courier.host.post_status(RobotStatus("robot-2", "running", frames=count))
        courier.herald.step()
    assert [status.robot for status in courier.hub.beaten[-1]] == ["robot-2"]
    courier.host.post_status(RobotStatus("robot-1", "running"))
    courier.herald.step()
    assert len(courier.hub.beaten[-1]) == 2


def test_the_couriers_alarms_reach_the_hub_with_the_robots_beat(courier):
    join(courier, alarm="reset: failed")
    courier.alarms.set("spool", "something was refused")
    courier.herald.step()
    assert courier.hub.beaten[-1][0].alarm == "reset: failed; spool: something was refused"


def test_with_the_hub_away_the_herald_tries_again(courier):
    join(courier)
    courier.hub.away = True
    assert courier.herald.step() > 0
    courier.hub.away = False
    courier.herald.step()
    assert len(courier.hub.beaten) == 1


def test_for_the_hub_of_a_large_fleet_it_beats_less_often_but_never_lets_attention_wait(courier):
    courier.hub.beat_s = 5.0
    join(courier)

    def beats(steps, **status):
        before = len(courier.hub.beaten)
        for _ in range(steps):
            courier.host.post_status(RobotStatus("robot-1", "running", **status))
            courier.herald.step()
        return len(courier.hub.beaten) - before

    assert beats(1) == 1
    assert beats(19) == 0  # a step is a quarter of a second
    assert beats(1) == 1
    assert beats(8, wants_attention=True) == 8
    assert beats(1) == 1
    assert beats(19) == 0


def test_a_dead_actor_of_a_large_fleet_is_spoken_for_no_longer_than_the_next_beat(courier):
    courier.hub.beat_s = 5.0
    join(courier)
    for _ in range(100):
        courier.herald.step()
    assert len(courier.hub.beaten) == 1


def test_a_courier_that_ends_says_so_without_waiting_for_its_turn(courier):
    join(courier)
    courier.herald.step()
    courier.host.post_status(RobotStatus("robot-1", "stopped"))
    courier.herald.speak()
    assert courier.hub.beaten[-1][0].phase == "stopped"
