"""Episodes up: in order, in spite of everything, and gone from the spool only when the hub has them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spooled import FakeHub, episode_id, record
from stepped import OPTIONS, Courier

from fleetloop.core.alarm import Alarms
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import DiskTrouble, GaveWay, HubFailed, HubRefused, HubUnavailable, NotTheHub
from fleetloop.core.frame import Source
from fleetloop.core.hub import never
from fleetloop.core.outcome import Outcome
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.spool import Spool


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
        def put_episode(self, id, path, hash, *, gives_way=never):
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


@pytest.mark.parametrize(
    "answer",
    [
        NotTheHub("http://hub", "answered HTTP 413", "is this a FleetLoop hub?"),
        HubFailed("hub", "failed to serve this request", "see the hub's log: 413"),
    ],
)
def test_what_can_not_go_up_alone_holds_back_no_other(courier, answer):
    """A proxy that lets no body of this size pass; a hub with a fault that this one episode wakes."""
    large, *ids = [record(courier.host, number) for number in range(3)]
    courier.hub.refuse[large] = answer
    for _ in range(5):
        courier.uploader.step()
    assert courier.hub.received == ids
    assert courier.files() == [f"{large}.arrow"]
    assert "413" in courier.alarms.text


def test_an_episode_of_a_robot_that_the_token_is_not_for_holds_back_no_other(courier):
    """Carried here from another host: once the token is for its robot too, it goes up by itself."""
    foreign, *ids = [record(courier.host, number) for number in range(3)]
    courier.hub.refuse[foreign] = HubRefused("token", "is for robot-1 alone", "ask for a new one", 403)
    for _ in range(5):
        courier.uploader.step()
    assert courier.hub.received == ids
    assert courier.files() == [f"{foreign}.arrow"]
    assert "robot-1 alone" in courier.alarms.text
    del courier.hub.refuse[foreign]
    courier.drain()
    assert courier.hub.received == [*ids, foreign]
    assert courier.alarms.text == ""


def test_the_alarm_is_gone_once_what_was_refused_was_moved_back(courier):
    id = record(courier.host, 1)
    courier.hub.refuse[id] = HubRefused("task", "'slide/far' is not one of this fleet's", "known: box/walls", 422)
    courier.drain()
    assert "'slide/far'" in courier.alarms.text
    del courier.hub.refuse[id]
    (courier.host.spool / "refused" / f"{id}.arrow").rename(courier.host.spool / f"{id}.arrow")
    courier.drain()
    assert courier.hub.received == [id]
    assert courier.alarms.text == ""


class Full(RealDisk):
    full = True

    def write(self, path, data):
        if self.full:
            raise DiskTrouble(str(path), "the disk is full", "free some space")
        super().write(path, data)


def test_on_a_full_disk_what_is_refused_still_leaves_the_way_free(tmp_path, caplog):
    disk = Full()
    courier = Courier(tmp_path, disk)
    ids = [record(courier.host, number) for number in range(2)]
    disk.full = False
    courier.spool.seal_finished()
    disk.full = True
    courier.hub.refuse[ids[0]] = HubRefused("task", "'slide/far' is not one of this fleet's", "known: box/walls", 422)
    courier.uploader.step()
    assert "the disk is full" in courier.alarms.text
    courier.drain()
    assert courier.hub.received == [ids[1]]
    assert (courier.host.spool / "refused" / f"{ids[0]}.arrow").exists()
    assert "nobody wrote down why" in courier.alarms.text
    assert "'slide/far'" in caplog.text


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


# ---------------------------------------------------------------------- an urgent one while another is under way


class Asking(FakeHub):
    """`meanwhile` happens during each upload, which then asks whether to give way."""

    meanwhile = staticmethod(lambda id: None)

    def put_episode(self, id, path, hash, *, gives_way=never):
        self.meanwhile(id)
        if gives_way():
            raise GaveWay("upload", "has stopped")
        return super().put_episode(id, path, hash)


@pytest.fixture
def asking(courier):
    courier.uploader._hub = courier.hub = Asking(courier.hub.directory)
    courier.spool._urgent_bytes = 1 << 20
    return courier


def test_an_upload_gives_way_to_an_urgent_episode_that_ends_meanwhile(asking):
    first, second = record(asking.host, 1), record(asking.host, 2)
    urgent = []
    asking.hub.meanwhile = lambda id: urgent or urgent.append(record(asking.host, 3, source=Source.HUMAN))
    asking.uploader.step()
    assert asking.hub.received == []
    assert asking.alarms.text == "", "nothing is wrong"
    asking.drain()
    assert asking.hub.received == [*urgent, first, second]


def test_an_upload_gives_way_to_nothing_else(asking):
    first, later = record(asking.host, 1), []
    asking.hub.meanwhile = lambda id: later or later.append(record(asking.host, 2))
    asking.drain()
    assert asking.hub.received == [first, *later]


def test_an_urgent_upload_does_not_give_way_to_the_next_one(asking):
    first, later = record(asking.host, 1, source=Source.HUMAN), []
    asking.hub.meanwhile = lambda id: later or later.append(record(asking.host, 2, source=Source.HUMAN))
    asking.uploader.step()
    assert asking.hub.received == [first]


def test_whose_turn_it_is_in_spite_of_urgent_ones_is_not_stopped_by_those(asking):
    """Else a large upload would go up in pieces as small as the stream of corrections is dense."""
    for number in range(12):
        record(asking.host, number, source=Source.HUMAN if number else Source.POLICY)
    asking.drain()
    assert asking.hub.received.index(episode_id(0)) == 8
