"""What a courier has on its disk, looked at again when there is reason to."""

import numpy as np
import pytest
from stepped import Courier

from fleetloop.core.hub import Orders, RobotStatus
from fleetloop.weights.codec import from_safetensors, to_safetensors, verify


def mark(courier, version=1):
    """What a robot would drive by, verified as it would."""
    weights = from_safetensors(courier.host.weights(version))
    verify(courier.host.manifest(version), weights)
    return float(weights["mark"][0])


def current(courier):
    return courier.host.current_version(), mark(courier)


def installed(courier):
    """Release 1 is what courier and hub agree on."""
    courier.hub.publish(1, 1.0)
    courier.fetcher.step()
    assert current(courier) == (1, 1.0)


def complain(courier, version, *robots):
    for robot in robots:
        courier.host.post_status(RobotStatus(robot, "waiting", refused=version))


def harm(courier, how, version=1):
    path = courier.host.releases / f"{version:08d}.{'json' if 'manifest' in how else 'safetensors'}"
    if "gone" in how:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])


HARMS = ["manifest gone", "manifest cut", "weights gone", "weights cut"]


@pytest.mark.parametrize("restarted", [False, True], ids=["goes on", "is restarted"])
def test_a_hub_that_began_anew_gives_its_own_release_1_in_place_of_the_other_ones(courier, tmp_path, restarted):
    installed(courier)
    courier.hub.away = True
    courier.fetcher.step()
    if restarted:
        courier = Courier(tmp_path)
    courier.hub.away, courier.hub.stable = False, None
    courier.fetcher.step()
    assert current(courier) == (1, 1.0), "there is no other yet"
    courier.hub.publish(1, 2.0)
    courier.fetcher.step()
    assert current(courier) == (1, 2.0)
    assert courier.alarms.text == ""


@pytest.mark.parametrize("how", HARMS)
def test_a_courier_that_starts_repairs_what_was_damaged(courier, tmp_path, how):
    installed(courier)
    harm(courier, how)
    hub, courier = courier.hub, Courier(tmp_path)
    courier.hub.blobs, courier.hub.stable = hub.blobs, hub.stable
    courier.fetcher.step()
    assert current(courier) == (1, 1.0)


@pytest.mark.parametrize("how", HARMS)
def test_what_a_robot_refuses_is_looked_at_and_repaired_even_if_the_hub_is_away_at_first(courier, how):
    installed(courier)
    harm(courier, how)
    complain(courier, 1, "robot-1")
    courier.hub.away = True
    courier.fetcher.step()
    courier.hub.away = False
    courier.fetcher.step()
    assert current(courier) == (1, 1.0)
    harm(courier, how)
    complain(courier, 1, "robot-1", "robot-2")
    courier.fetcher.step()
    assert current(courier) == (1, 1.0), "the second one has a reason of its own"


@pytest.mark.parametrize("how", HARMS)
@pytest.mark.parametrize("restarted", [False, True], ids=["goes on", "is restarted"])
def test_a_damaged_release_that_a_robot_is_pinned_to_is_repaired_too(courier, tmp_path, how, restarted):
    courier.hub.publish(7, 7.0)
    courier.host.post_orders(Orders("robot-1", release=7))
    courier.pins.step()
    harm(courier, how, 7)
    if restarted:
        hub, courier = courier.hub, Courier(tmp_path)
        courier.hub.blobs, courier.hub.releases = hub.blobs, hub.releases
    else:
        complain(courier, 7, "robot-1")
    courier.pins.step()
    assert mark(courier, 7) == 7.0
    assert courier.alarms.text == ""


def test_what_is_sound_is_read_once_however_often_the_hub_is_away_or_a_robot_goes_on_refusing(courier, monkeypatch):
    """Another robot's hardware may not fit it, for example; and weights are gigabytes."""
    installed(courier)
    complain(courier, 1, "robot-1")
    courier.fetcher.step()
    read = []
    weights = courier.host.weights
    monkeypatch.setattr(courier.host, "weights", lambda version: read.append(version) or weights(version))
    asked = []
    coming = courier.hub.coming
    monkeypatch.setattr(courier.hub, "coming", lambda name, **how: asked.append(how["after"]) or coming(name, **how))
    for away in (True, False, False, False):
        courier.hub.away = away
        complain(courier, 1, "robot-1")
        courier.fetcher.step()
    assert read == []
    assert asked == [1, 0, 1, 1], "then it waits for another one"


def test_weights_that_are_none_of_the_kept_manifests_are_replaced(courier):
    installed(courier)
    (courier.host.releases / "00000001.safetensors").write_bytes(to_safetensors({"mark": np.array([9.0], np.float32)}))
    complain(courier, 1, "robot-1")
    courier.fetcher.step()
    assert current(courier) == (1, 1.0)
