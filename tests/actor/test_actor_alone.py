"""One actor drives a robot."""

import pytest
from typer.testing import CliRunner

from fleetloop.cli import actor, wiring
from fleetloop.cli.main import app
from fleetloop.core.disk import RealDisk
from fleetloop.core.host import HostDirectory

DRIVE = ["actor", "--robot", "arm-1", "--site", "1", "--operator", "none", "--home"]


@pytest.fixture
def bodies(monkeypatch):
    """What became of the robot: a fake, whose hardware would answer."""
    happened: list[str] = []

    class Hardware:
        def close(self) -> None:
            happened.append("closed")

    def build(kind, clock, site):
        happened.append("opened")
        return Hardware()

    monkeypatch.setattr(wiring.RobotKind, "build", build)
    monkeypatch.setattr(actor, "limit_threads", lambda count: None)
    return happened


def test_a_second_actor_of_the_same_name_touches_no_hardware(tmp_path, bodies):
    disk = RealDisk()
    host = HostDirectory(tmp_path, disk)
    with disk.create(host.mail / "arm-1.lock"):
        refused = CliRunner().invoke(app, [*DRIVE, str(tmp_path)])
    assert "another actor on this host" in refused.output
    assert bodies == []


def test_hardware_is_closed_when_the_actor_can_not_be_put_together(tmp_path, bodies, monkeypatch):
    def broken(config):
        raise RuntimeError("no judge")

    monkeypatch.setattr(wiring, "judge_kind", broken)
    refused = CliRunner().invoke(app, [*DRIVE, str(tmp_path)])
    assert str(refused.exception) == "no judge"
    assert bodies == ["opened", "closed"]
