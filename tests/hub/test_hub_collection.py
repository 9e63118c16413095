"""Weights that nobody needs go; whoever lives reaches what it is to run, bit for bit, whatever happens in between."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from collecting import KEEP, Fleet, play
from hub_world import HubProcess, manifest, publish, put_blobs, until
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.errors import HubRefused, ReleaseInvalid
from fleetloop.core.hub import RobotStatus
from fleetloop.core.release import BlobEntry, Encoding
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import ReleasesOptions
from fleetloop.weights.ladder import SPANS
from fleetloop.weights.route import obtain


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet of forty releases; nothing has gone yet."""
    fleet = Fleet(tmp_path_factory.mktemp("old"))
    for _ in range(40):
        fleet.publish()
    fleet.hub.close()
    return fleet


@pytest.fixture
def fleet(old: Fleet, tmp_path: Path) -> Iterator[Fleet]:
    fleet = old.moved_to(tmp_path)
    yield fleet
    fleet.hub.close()


def blobs(fleet: Fleet) -> set[str]:
    return {path.name for path in (fleet.options.directory / "blobs").iterdir()}


# ---------------------------------------------------------------------- what goes, what stays


def test_by_default_nothing_goes(old: Fleet, tmp_path: Path) -> None:
    fleet = old.moved_to(tmp_path, ReleasesOptions())
    before = blobs(fleet)
    fleet.clock.advance(1e6)
    fleet.hub.keep_house(fleet.clock.now())
    assert fleet.collected() == []
    assert blobs(fleet) == before
    fleet.hub.close()


def test_the_newest_stay_and_those_that_they_stand_on(fleet: Fleet) -> None:
    fleet.collect()
    assert fleet.collected() == [*range(1, 16), *range(17, 25)], "16 is the anchor under 25 to 31"
    named = {blob.hash for release in fleet.hub.releases() if not release.collected_wall_s for blob in release.blobs}
    assert blobs(fleet) == named
    for version in range(25, 41):
        fleet.reach(fleet.hub.release(version), 0)


def test_what_robots_run_stays_and_a_short_way_on_from_there(fleet: Fleet) -> None:
    robot = fleet.robots[0]
    robot.runs = 22
    fleet.hub.beat([RobotStatus(robot.name, "running", release=22)])
    fleet.collect()
    assert 22 not in fleet.collected()
    before = obtain(fleet.hub.release(40), fleet.hub, fleet.published[22], 22).bytes
    assert before < obtain(fleet.hub.release(40), fleet.hub).bytes


@pytest.mark.parametrize("steer", ["pin", "hold", "before"])
def test_what_people_name_stays(fleet: Fleet, steer: str) -> None:
    if steer == "pin":
        fleet.hub.pin("robot-1", 7)
    else:
        fleet.hub.roll_back(7)
    if steer == "before":
        fleet.hub.resume()
        fleet.hub.roll_back(7)
    fleet.collect()
    assert 7 not in fleet.collected()
    fleet.check()
    fleet.hub.pin("robot-1", 0)
    fleet.hub.resume()
    for _ in range(2):
        fleet.publish()
    fleet.hub.promote(42)
    fleet.collect()
    assert (7 in fleet.collected()) is (steer == "pin"), "a rollback without a version may still go there"


def test_a_collected_release_is_known_and_nobody_is_sent_there(fleet: Fleet) -> None:
    statement = fleet.hub.release(5).statement()
    fleet.collect()
    known = fleet.hub.release(5)
    assert known.statement() == statement
    assert known.collected_wall_s == pytest.approx(fleet.clock.wall(), abs=5)
    for steer in (lambda: fleet.hub.promote(5), lambda: fleet.hub.roll_back(5), lambda: fleet.hub.pin("robot-1", 5)):
        with pytest.raises(HubRefused, match="5 was collected") as refusal:
            steer()
        assert refusal.value.status == 410
    with pytest.raises(ReleaseInvalid, match="release 5: was collected"):
        obtain(known, fleet.hub, fleet.published[4], 4)


def test_a_release_that_stands_on_what_is_gone_is_refused(fleet: Fleet) -> None:
    fleet.collect()
    release, encoded = manifest(9, parent=40)
    put_blobs(fleet.hub, encoded)
    lost = tuple(replace(encoding, base=5) for encoding in release.encodings)
    with pytest.raises(ReleaseInvalid, match="base: leads to no release"):
        fleet.hub.publish(replace(release, encodings=lost), fleet.hub.claim_lease("learner"))


# ---------------------------------------------------------------------- safe against what is under way


def test_a_download_under_way_has_the_grace_period(old: Fleet, tmp_path: Path) -> None:
    fleet = old.moved_to(tmp_path, ReleasesOptions(keep=KEEP, grace_wall_s=3600))
    fleet.clock.sleep_until(time.time() + 4000)
    begun = fleet.hub.release(24)
    assert begun.encodings[0].base == 23
    fleet.collect()
    assert 24 in fleet.collected()
    fleet.reach(begun, 23)
    fleet.clock.advance(3700)
    fleet.collect()
    with pytest.raises(HubRefused, match="is not here"):
        fleet.reach(begun, 23)
    fleet.hub.close()


def test_a_publication_under_way_keeps_its_blobs(old: Fleet, tmp_path: Path) -> None:
    """Also when the bytes lay there before, for an older release."""
    fleet = old.moved_to(tmp_path, ReleasesOptions(keep=KEEP, grace_wall_s=3600))
    (encoding,) = (way for way in fleet.hub.release(5).encodings if way.base == 4)
    data = {blob.hash: fleet.hub.get_blob(blob) for blob in encoding.blobs}
    fleet.collect()
    fleet.clock.advance(4000)
    fleet.collect()
    assert not set(data) & blobs(fleet)
    for hash, blob in data.items():
        fleet.hub.put_blob(hash, blob)
        os.utime(fleet.options.directory / "blobs" / hash, (fleet.clock.wall(),) * 2)
    fleet.clock.advance(3000)
    fleet.collect()
    assert set(data) <= blobs(fleet)
    fleet.clock.advance(1000)
    fleet.collect()
    assert not set(data) & blobs(fleet)
    fleet.hub.close()


def test_what_is_named_while_the_hub_looks_stays(fleet: Fleet) -> None:
    def pins_meanwhile() -> set[int]:
        fleet.hub.pin("robot-1", 3)
        return set()

    fleet.hub.collector._running = pins_meanwhile
    assert fleet.hub.collector.collect(KEEP) == 0
    assert fleet.hub.collector.collect(KEEP) > 0
    assert 3 not in fleet.collected()


def test_what_a_dead_hub_had_marked_and_not_committed_is_taken_back(fleet: Fleet) -> None:
    fleet.collect_and_die(after=5)
    assert fleet.collected() == []
    fleet.hub.pin("robot-1", 3)
    fleet.rebuild()
    assert fleet.collected() == []
    fleet.check()
    fleet.collect()
    assert 3 not in fleet.collected()
    fleet.rebuild()
    fleet.check()
    assert fleet.hub.release(3).collected_wall_s == 0


# ---------------------------------------------------------------------- any order


@settings(max_examples=4, deadline=None)
@given(st.data())
def test_whatever_happens_a_living_robot_reaches_what_it_is_to_run(
    old: Fleet, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    play(old.moved_to(tmp_path_factory.mktemp("fleet")), data)


@pytest.mark.long
@pytest.mark.timeout(1200)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_happens_long(old: Fleet, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    play(old.moved_to(tmp_path_factory.mktemp("fleet")), data)


# ---------------------------------------------------------------------- stores, processes, commands


@pytest.mark.parametrize("store", ["directory", "s3"], indirect=True)
def test_weights_in_either_store_go(tmp_path: Path, store: str) -> None:
    fleet = Fleet(tmp_path, store)
    for _ in range(20):
        fleet.publish()
    fleet.robots = fleet.robots[:1]
    fleet.collect()
    assert fleet.collected() == [2, 3, 4], "the first is the anchor under 5"
    named = {blob.hash for release in fleet.hub.releases() if not release.collected_wall_s for blob in release.blobs}
    found = {name.split("/")[-1] for name in fleet.hub.publishing._objects.names("blobs")}
    assert found == named
    before = fleet.hub.releases()
    fleet.rebuild()
    assert fleet.hub.releases() == before
    fleet.check()
    fleet.hub.close()


def test_a_hub_in_its_own_process_sees_to_it_by_itself(tmp_path: Path) -> None:
    hub = HubProcess.start(tmp_path / "hub", releases={"keep": KEEP, "every_s": 0.05, "grace_wall_s": 2.0})
    client = HttpHub(hub.url)
    for seed in range(1, KEEP + 3):
        publish(client, seed, parent=seed - 1)
    until(lambda: [release.version for release in client.releases() if release.collected_wall_s] == [2, 1])
    gone = client.release(1).blobs[0]
    until(lambda: not (tmp_path / "hub" / "blobs" / gone.hash).exists())
    with pytest.raises(HubRefused) as refusal:
        client.get_blob(gone)
    assert refusal.value.status == 404
    told = {command: CliRunner().invoke(app, [*command.split(), "--hub", hub.url]).output for command in SHOWN}
    assert "collected" in next(line for line in told["releases ls"].splitlines() if line.split()[:1] == ["1"])
    assert "nobody can fetch them" in told["releases show 1"]
    assert "kept" in told["releases show 18"]
    assert "was collected" in told["releases verify 1 --set run=run-1"]
    client.close()
    assert hub.stop() == 0


SHOWN = (
    "releases ls",
    "releases show 1",
    "releases show 18",
    "releases diff 1 18",
    "releases verify 1 --set run=run-1",
)


def test_a_dry_run_says_what_would_go(fleet: Fleet) -> None:
    fleet.hub.close()
    words = ["hub", "retention", "--dry-run", "--directory", str(fleet.options.directory)]
    said = CliRunner().invoke(app, [*words, "--set", f"hub.releases.keep={KEEP}"]).output
    assert "23 of 40 releases are to be collected, 1 to 24" in said
    assert "all weights of 40 releases are kept" in CliRunner().invoke(app, words).output
    fleet.open()
    assert fleet.collected() == []


def test_as_many_stay_at_least_as_a_learner_may_encode_the_next_release_against() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 16"):
        ReleasesOptions(keep=KEEP - 1)
    assert ReleasesOptions(keep=KEEP).keep == max(SPANS)


def test_blobs_of_two_releases_stay_with_the_younger(fleet: Fleet) -> None:
    """Content has one name, whoever names it."""
    shared = fleet.hub.release(5).encodings[0]
    ways = (
        *fleet.hub.release(40).encodings,
        Encoding("blocks/1", 39, (BlobEntry(shared.blobs[0].hash, shared.blobs[0].size),)),
    )
    release = replace(fleet.hub.release(40).numbered(0), step=99, parent=40, encodings=ways)
    fleet.hub.publish(release, fleet.hub.claim_lease("learner"))
    fleet.collect()
    assert 5 in fleet.collected()
    assert shared.blobs[0].hash in blobs(fleet)
    assert json.loads((fleet.options.directory / "releases" / "00000005.json").read_bytes())["collected_wall_s"] > 0
