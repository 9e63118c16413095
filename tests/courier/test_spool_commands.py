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
        assert listed.count("interrupted") == 2
        assert listed.count("recording") == 1
        assert "3 episodes" in listed
        world.start("hub")
        until(lambda: _answers(world))
        drained = spool(world, "drain", "--hub", world.hub.url)
        assert drained.exit_code == 0, drained.output
        assert world.ids() == {first, second}
        assert [path.name for path in world.host.spool.glob("*.*")] == [f"{episode_id(3)}.partial"]
        assert not running.closed
    assert spool(world, "ls").output.count("interrupted") == 1


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


def test_without_a_hub_draining_says_so_and_keeps_all(world):
    record(world.host, 1)
    drained = spool(world, "drain", "--hub", world.hub.url, "--wait", "0")
    assert drained.exit_code == 1
    assert "could not be uploaded" in " ".join(drained.output.split())
    assert "waiting" in spool(world, "ls").output


def test_while_a_courier_serves_it_only_looking_is_allowed(world, tmp_path):
    record(world.host, 1)
    with only_courier(world.host, "stop it"):
        assert "interrupted" in spool(world, "ls").output
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
