"""What waits on a robot's host: in which order it goes up, how much may wait, and what a person does with it."""

import dataclasses
import io
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spooled import SUCCESS, FakeHub, episode_id, record

from fleetloop.actor.options import RecorderOptions
from fleetloop.actor.recorder import Recorder
from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import DiskTrouble, EpisodeInvalid, HubUnavailable
from fleetloop.core.frame import Source
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import never
from fleetloop.courier.by_hand import drain_spool, export_spool
from fleetloop.courier.inventory import State, inventory
from fleetloop.courier.options import CourierOptions
from fleetloop.courier.run import only_courier
from fleetloop.courier.spool import Spool
from fleetloop.hub.http.uplink import SIP, Uplink, giving_way


@pytest.fixture
def host(tmp_path):
    return HostDirectory(tmp_path / "host", RealDisk())


def spool(host, urgent_bytes=1 << 20):
    found = Spool(host.spool, RealDisk(), Alarms(), urgent_bytes=urgent_bytes)
    found.seal_finished()
    return found


def order(host, **options):
    """The ids in the order in which they would go up."""
    waiting, ids = spool(host, **options), []
    while (path := waiting.next()) is not None:
        ids.append(path.stem)
        waiting.forget(path)
    return ids


# ---------------------------------------------------------------------- which goes first


def test_a_small_episode_with_interventions_overtakes(host):
    record(host, 1)
    record(host, 2, source=Source.HUMAN)
    record(host, 3)
    assert order(host) == [episode_id(2), episode_id(1), episode_id(3)]


def test_a_large_one_waits_its_turn(host):
    record(host, 1)
    record(host, 2, source=Source.HUMAN, frames=400)
    record(host, 3, source=Source.HUMAN)
    spool(host)
    largest = max(path.stat().st_size for path in host.spool.glob("*.arrow"))
    assert order(host, urgent_bytes=largest - 1) == [episode_id(3), episode_id(1), episode_id(2)]


def test_corrections_without_end_hold_nothing_back_for_ever(host):
    for number in range(26):
        record(host, number, source=Source.HUMAN if number > 1 else Source.POLICY)
    gone = order(host)
    assert (gone.index(episode_id(0)), gone.index(episode_id(1))) == (8, 17)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """The bytes of an episode that is urgent, and of one that is not."""
    host = HostDirectory(tmp_path_factory.mktemp("kinds"), RealDisk())
    ids = {True: record(host, 1, source=Source.HUMAN), False: record(host, 2)}
    spool(host)
    return {urgent: (host.spool / f"{id}.arrow").read_bytes() for urgent, id in ids.items()}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=5), st.integers(0, 3))
def test_whoever_waits_is_up_after_nine_uploads_for_each_that_is_no_younger(kinds, first, arriving):
    """Whatever corrections arrive meanwhile: the rule is stated in the docs."""
    with tempfile.TemporaryDirectory() as name:
        waiting, arrivals, gone = Spool(Path(name), RealDisk(), Alarms(), urgent_bytes=1 << 20), count(), []

        def arrive(urgent):
            (Path(name) / f"{episode_id(next(arrivals))}.arrow").write_bytes(kinds[urgent])

        for urgent in first:
            arrive(urgent)
        for _ in range(9 * len(first)):
            for _ in range(arriving):
                arrive(True)
            if (path := waiting.next()) is not None:
                gone.append(path.stem)
                waiting.forget(path)
        for place in range(len(first)):
            assert gone.index(episode_id(place)) < 9 * (place + 1)


def test_a_file_that_is_no_episode_is_not_looked_at_twice_as_urgent(host):
    (host.spool / f"{episode_id(1)}.arrow").write_bytes(b"nothing")
    record(host, 2, source=Source.HUMAN)
    assert order(host) == [episode_id(2), episode_id(1)]


# ---------------------------------------------------------------------- how fast


def test_uploads_share_the_uplink(tmp_path):
    clock = Virtual()
    uplink = Uplink(8.0, clock)  # a megabyte per second
    sent = [b"".join(giving_way(uplink.paced(io.BytesIO(bytes(1_000_000))), 1_000_000, never)) for _ in range(2)]
    assert [len(data) for data in sent] == [1_000_000, 1_000_000]
    assert clock.now() == pytest.approx(2.0, abs=SIP / 1e6)


def test_an_idle_uplink_saves_nothing_up():
    clock = Virtual()
    uplink = Uplink(8.0, clock)
    clock.sleep_until(100.0)
    list(giving_way(uplink.paced(io.BytesIO(bytes(500_000))), 500_000, never))
    assert clock.now() == pytest.approx(100.5, abs=SIP / 1e6)


# ---------------------------------------------------------------------- how much


def recorder(host, alarms, budget):
    return Recorder(RealDisk(), host.spool, RecorderOptions(spool_bytes=budget), alarms)


def play(recorder, host, number):
    """One episode through a recorder."""
    recorder.begin(dataclasses.replace(template(host), id=episode_id(number)))
    recorder.end(SUCCESS)
    recorder.step(0.0)


def template(host):
    record(host, 99, frames=3)
    spool(host)
    path = host.spool / f"{episode_id(99)}.arrow"
    meta = Episode.open(path).meta
    path.unlink()
    return dataclasses.replace(meta, ending=None)


def test_over_its_budget_no_new_episode_is_recorded_and_driving_goes_on(host):
    alarms = Alarms()
    record(host, 1)
    spool(host)
    waiting = (host.spool / f"{episode_id(1)}.arrow").stat().st_size
    tight = recorder(host, alarms, waiting)
    play(tight, host, 2)
    assert tight.settled
    assert f"holds {waiting} bytes, and actor.recorder.spool_bytes allows {waiting}" in alarms.text
    assert [path.stem for path in host.spool.glob("*.*") if path.is_file()] == [episode_id(1)]

    (host.spool / f"{episode_id(1)}.arrow").unlink()  # the courier got through
    play(tight, host, 3)
    assert alarms.text == ""
    assert (host.spool / f"{episode_id(3)}.partial").exists()


def test_with_little_room_left_on_the_disk_no_new_episode_is_recorded(host):
    class Nearly(RealDisk):
        left = 99

        def free(self, directory):
            return self.left

    alarms, disk = Alarms(), Nearly()
    tight = Recorder(disk, host.spool, RecorderOptions(spare_bytes=100), alarms)
    play(tight, host, 1)
    assert tight.settled
    assert "has 99 bytes left, and actor.recorder.spare_bytes keeps 100" in alarms.text
    assert list(host.spool.glob("*.partial")) == []
    disk.left = 100
    play(tight, host, 2)
    assert alarms.text == ""
    assert (host.spool / f"{episode_id(2)}.partial").exists()


# ---------------------------------------------------------------------- looking, emptying, carrying away


def test_the_inventory_tells_what_is_recorded_waits_and_was_refused(host):
    record(host, 1, source=Source.HUMAN)
    record(host, 2)
    found = spool(host)
    found.set_aside(host.spool / f"{episode_id(2)}.arrow", EpisodeInvalid("outcome", "makes no sense"))
    record(host, 3, ending=None)
    with RealDisk().create(host.spool / f"{episode_id(4)}.partial"):
        items = {item.id: item for item in inventory(host.spool, RealDisk())}
    assert {id: item.state for id, item in items.items()} == {
        episode_id(1): State.WAITING,
        episode_id(2): State.REFUSED,
        episode_id(3): State.UNSEALED,
        episode_id(4): State.RECORDING,
    }
    waiting = items[episode_id(1)]
    assert (waiting.meta.task, waiting.frames, waiting.interventions) == ("slide/far", 5, 1)
    assert waiting.size == waiting.file.stat().st_size
    assert items[episode_id(2)].reason == "outcome: makes no sense"


def test_a_damaged_file_is_in_the_inventory_with_what_is_wrong(host):
    (host.spool / f"{episode_id(1)}.arrow").write_bytes(b"nothing")
    (item,) = inventory(host.spool, RealDisk())
    assert (item.state, item.meta) == (State.WAITING, None)
    assert "Arrow" in item.reason


def test_draining_uploads_all_and_ends(host, tmp_path):
    ids = [record(host, number) for number in range(3)]
    hub = FakeHub(tmp_path / "hub")
    drain_spool(host, hub, disk=RealDisk(), options=CourierOptions(), wait_s=5.0)
    assert hub.received == ids
    assert inventory(host.spool, RealDisk()) == []


def test_draining_does_not_call_a_spool_empty_that_it_could_not_seal(host, tmp_path):
    class Full(RealDisk):
        def write(self, path, data):
            raise DiskTrouble(str(path), "the disk is full", "free some space")

    record(host, 1)
    with pytest.raises(HubUnavailable, match="the disk is full"):
        drain_spool(
            host,
            FakeHub(tmp_path / "hub"),
            disk=Full(),
            options=CourierOptions(retry_first_wall_s=0.01),
            wait_s=0.0,
        )


def test_draining_gives_up_on_a_hub_that_stays_away_and_loses_nothing(host, tmp_path):
    record(host, 1)
    hub = FakeHub(tmp_path / "hub")
    hub.away = True
    with pytest.raises(HubUnavailable, match=r"1 episodes could not be uploaded .*can't be reached"):
        drain_spool(host, hub, disk=RealDisk(), options=CourierOptions(retry_first_wall_s=0.01), wait_s=0.0)
    assert [item.state for item in inventory(host.spool, RealDisk())] == [State.WAITING]


@pytest.mark.parametrize("move", [False, True])
def test_an_export_holds_the_same_bytes(host, tmp_path, move):
    ids = [record(host, 1), record(host, 2, ending=None)]
    copies = export_spool(host, tmp_path / "stick" / "monday", disk=RealDisk(), move=move)
    assert [path.stem for path in copies] == ids
    assert [len(Episode.open(path)) for path in copies] == [5, 5]
    left = {path.name: path.read_bytes() for path in host.spool.glob("*.arrow")}
    assert left == ({} if move else {path.name: path.read_bytes() for path in copies})


def test_an_export_from_a_full_disk_makes_room_first(host, tmp_path):
    class Small(RealDisk):
        def write(self, path, data):
            if path.parent == host.spool and list(host.spool.glob("*.arrow")):
                raise DiskTrouble(str(path), "the disk is full", "free some space")
            super().write(path, data)

    ids = [record(host, 1)]
    Spool(host.spool, RealDisk(), Alarms()).seal_finished()
    ids.append(record(host, 2))
    copies = export_spool(host, tmp_path / "stick", disk=Small(), move=True)
    assert [path.stem for path in copies] == ids
    assert list(host.spool.glob("*.arrow")) == list(host.spool.glob("*.partial")) == []


def test_a_spool_that_a_courier_serves_is_left_alone(host, tmp_path):
    record(host, 1)
    with only_courier(host, "try"):
        with pytest.raises(DiskTrouble, match=r"another courier serves this directory.*fleetloop status"):
            drain_spool(host, FakeHub(tmp_path / "hub"), disk=RealDisk(), options=CourierOptions(), wait_s=1.0)
        with pytest.raises(DiskTrouble, match=r"another courier serves this directory.*stop it first"):
            export_spool(host, tmp_path / "stick", disk=RealDisk(), move=True)
    assert (host.spool / f"{episode_id(1)}.partial").exists()
