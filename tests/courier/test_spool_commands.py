"""`fleetloop spool` as a person at a robot's host meets it: on a real spool, towards a real hub."""

import pytest
from spooled import episode_id, record
from test_fleet_processes import World, until
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.frame import Source
from fleetloop.courier.run import only_courier


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    world = World(tmp_path)
    yield world
    for process in world.processes:
        process.kill()
        process.wait()


def spool(world, *arguments):
    said = [*arguments, "--home", str(world.host.root)]
    return CliRunner().invoke(app, ["spool", *said], env={"COLUMNS": "200", "TERM": "dumb"})


def test_listing_tells_what_waits_and_draining_takes_it_to_the_hub(world):
    first, second = record(world.host, 1, source=Source.HUMAN), record(world.host, 2, ending=None)
    with RealDisk().create(world.host.spool / f"{episode_id(3)}.partial") as running:
        listed = spool(world, "ls").output
        assert listed.count("unsealed") == 2
        assert listed.count("recording") == 1
        assert "3 episodes" in listed
        world.start("hub")
        until(lambda: _answers(world))
        drained = spool(world, "drain", "--hub", world.hub.url)
        assert drained.exit_code == 0, drained.output
        assert world.ids() == {first, second}
        assert [path.name for path in world.host.spool.glob("*.*")] == [f"{episode_id(3)}.partial"]
        assert not running.closed
    assert spool(world, "ls").output.count("unsealed") == 1


def test_a_spool_carried_to_another_host_goes_up_from_there(world, tmp_path):
    ids = {record(world.host, number) for number in range(2)}
    stick = tmp_path / "other" / "spool"
    moved = spool(world, "export", str(stick), "--move")
    assert moved.exit_code == 0, moved.output
    assert "2 episodes are in" in moved.output
    assert list(world.host.spool.glob("*.arrow")) == []
    assert {Episode.open(path).meta.id for path in stick.glob("*.arrow")} == ids
    world.start("hub")
    until(lambda: _answers(world))
    there = CliRunner().invoke(app, ["spool", "drain", "--home", str(tmp_path / "other"), "--hub", world.hub.url])
    assert there.exit_code == 0, there.output
    assert world.ids() == ids
    assert list(stick.glob("*.arrow")) == []


def test_a_spool_is_not_carried_onto_itself(world):
    id = record(world.host, 1)
    said = spool(world, "export", str(world.host.spool), "--move")
    assert (said.exit_code, "is the spool itself" in said.output) == (1, True)
    assert list(world.host.spool.glob(f"{id}.*"))


@pytest.mark.parametrize("command", [["ls"], ["drain"], ["export", "stick"]], ids=lambda command: command[0])
def test_where_no_robot_ever_was_nothing_is_well(world, tmp_path, command):
    said = CliRunner().invoke(app, ["spool", *command, "--home", str(tmp_path / "hots")], env={"COLUMNS": "400"})
    assert (said.exit_code, "hots has no spool" in said.output) == (1, True), said.output
    assert not (tmp_path / "hots").exists()


def test_draining_does_not_pass_over_what_was_refused(world):
    good = record(world.host, 1)
    (world.host.spool / f"{episode_id(2)}.arrow").write_bytes(b"no episode")
    world.start("hub")
    until(lambda: _answers(world))
    drained = spool(world, "drain", "--hub", world.hub.url)
    assert drained.exit_code == 1
    assert "1 episodes were refused and are kept in" in " ".join(drained.output.split())
    assert world.ids() == {good}
    assert spool(world, "drain", "--hub", world.hub.url).exit_code == 0  # it was said


def test_what_can_not_be_read_keeps_no_other_from_being_carried(world, tmp_path):
    id = record(world.host, 2)
    (world.host.spool / f"{episode_id(1)}.arrow").mkdir()  # a disk that gives this file no more
    exported = spool(world, "export", str(tmp_path / "stick"))
    assert exported.exit_code == 1
    assert f"{episode_id(1)}.arrow" in "".join(exported.output.split())
    assert [Episode.open(path).meta.id for path in (tmp_path / "stick").glob("*.arrow")] == [id]


def test_without_a_hub_draining_says_so_and_keeps_all(world):
    record(world.host, 1)
    drained = spool(world, "drain", "--hub", world.hub.url, "--wait", "0")
    assert drained.exit_code == 1
    assert "could not be uploaded" in " ".join(drained.output.split())
    assert "waiting" in spool(world, "ls").output


def test_while_a_courier_serves_it_only_looking_is_allowed(world, tmp_path):
    record(world.host, 1)
    with only_courier(world.host, "stop it"):
        assert "unsealed" in spool(world, "ls").output
        for arguments in (("drain", "--hub", world.hub.url), ("export", str(tmp_path / "stick"))):
            said = spool(world, *arguments)
            assert said.exit_code == 1
            assert "another courier serves this directory" in " ".join(said.output.split())
    assert not (tmp_path / "stick").exists()


def _answers(world):
    try:
        world.hub.fleet()
    except FleetLoopError:
        return False
    return True
