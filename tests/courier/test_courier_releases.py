"""Releases down: verified, kept as long as they may be needed, followed back too."""

import dataclasses
import json

import numpy as np
import pytest
from spooled import release
from stepped import current

from fleetloop.core import host
from fleetloop.core.hub import Orders
from fleetloop.core.release import TensorEntry
from fleetloop.weights.codec import BLOCKS, encode, from_safetensors, to_safetensors, verify
from fleetloop.weights.signature import Trust, make_key
from fleetloop.weights.verified import Known


def test_releases_are_verified_installed_and_old_ones_forgotten(courier):
    for version in range(1, 6):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
        installed, data = current(courier.host)
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


def test_where_it_can_not_be_noted_a_release_is_installed_all_the_same(courier):
    (courier.host.releases / "installed").mkdir()  # for example root's
    courier.hub.publish(1, 1.0)
    assert courier.fetcher.step() > 0
    assert "installed" in courier.alarms.text
    courier.fetcher.step()
    assert courier.host.current_version() == 1
    assert courier.alarms.text == ""


def test_a_rollback_is_followed_and_its_release_kept(courier):
    for version in (1, 2, 3, 4, 2):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
    release, data = current(courier.host)
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
    assert current(courier.host) is None
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
    assert current(courier.host)[0].signature == courier.hub.stable.signature
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
    release, data = current(courier.host)
    verify(release, from_safetensors(data))


@pytest.mark.parametrize("harm", ["gone", "cut", "another tensor"])
def test_a_base_that_is_damaged_on_the_disk_is_done_without(courier, harm):
    first = courier.hub.publish(1, 1.0)
    courier.fetcher.step()
    base = Known(from_safetensors(courier.host.weights(1)), first.tensors, first.result_hash)
    second, blobs = release(2, 2.0)
    delta = encode({"mark": np.array([2.0], np.float32)}, BLOCKS, base)
    assert delta.size < second.encodings[0].size, "it is the cheaper way"
    courier.hub.stable = dataclasses.replace(second, encodings=(*second.encodings, delta.encoding(1)))
    courier.hub.blobs.update({**blobs, **delta.blobs})
    path = courier.host.releases / "00000001.safetensors"
    if harm == "gone":
        path.unlink()
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    if harm == "another tensor":
        path.write_bytes(to_safetensors({"else": np.array([1.0], np.float32)}))
    courier.fetcher.step()
    installed, data = current(courier.host)
    assert installed.version == 2
    verify(installed, from_safetensors(data))


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


def test_a_pin_that_can_not_be_followed_holds_back_no_other(courier):
    courier.hub.publish(9, 9.0)
    courier.host.post_orders(Orders("robot-1", release=8))
    courier.host.post_orders(Orders("robot-2", release=9))
    courier.pins.step()
    assert courier.host.versions() == [9]
    assert "there is no release 8" in courier.alarms.text


def test_without_a_hub_the_old_release_stays_and_the_alarm_says_so(courier):
    courier.hub.away = True
    courier.fetcher.step()
    assert current(courier.host) is None
    assert "can't be reached" in courier.alarms.text


def test_a_base_whose_manifest_can_not_be_read_is_done_without(courier):
    courier.hub.publish(1, 1.0)
    courier.fetcher.step()
    file = courier.host.releases / "00000001.json"
    file.unlink()
    file.mkdir()  # to read it is an OSError, for root too
    courier.hub.publish(2, 2.0)
    courier.fetcher.step()
    assert courier.host.current_version() == 2


def test_a_file_of_somebody_elses_among_the_releases_is_left_alone(courier):
    (courier.host.releases / "notes.json").write_text("{}")
    for version in range(1, 5):
        courier.hub.publish(version, float(version))
        courier.fetcher.step()
    assert courier.host.versions() == [4, 3]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("releases/robot-1.trial", "[]"),
        ("releases/robot-1.trial", '{"loading": "", "deaths": null}'),
        ("mail/robot-1.orders.json", '{"robot": "robot-1", "release": [1]}'),
        ("mail/robot-1.status.json", '{"robot": "robot-1", "phase": "running", "frames": "many"}'),
    ],
)
def test_damaged_mail_that_still_is_json_is_none(courier, name, text):
    (courier.host.root / name).write_text(text)
    assert courier.host.trial("robot-1") == {}
    assert courier.host.pinned() == set()
    assert courier.host.orders("robot-1") == Orders("robot-1")
    assert list(courier.host.statuses()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spec": {}}, "spec: is incomplete or malformed"),
        ({"tensors": (TensorEntry("w", "bfloat16", (0, 2**70), "0" * 64),) * 2}, "tensor w: is in the manifest twice"),
        ({"tensors": (TensorEntry("w", "complex64", (2,), "0" * 64),)}, "tensor w: has the type complex64"),
    ],
)
def test_a_manifest_that_no_actor_could_use_is_not_installed(courier, changes, told):
    courier.hub.publish(1, 1.0)
    courier.fetcher.step()
    courier.hub.publish(2, 2.0)
    courier.hub.stable = dataclasses.replace(courier.hub.stable, **changes)
    courier.fetcher.step()
    assert courier.host.versions() == [1]
    assert told in courier.alarms.text
