"""A robot's clock may say what it likes: its episodes are taken, and how far it was off is kept and shown."""

from pathlib import Path

import pytest
from hub_world import World, put, sealed
from typer.testing import CliRunner

from fleetloop.cli import wiring
from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService

FRAMES_S = 1.7e9  # what the clock of the robot in `hub_world` says, whatever the hub's
YEAR_S = 365.25 * 86_400


class Restarted(Virtual):
    """A clock whose seconds count from the machine's last start."""

    def __init__(self, wall_s: float) -> None:
        super().__init__(1000.0)
        self._wall_s = wall_s

    def wall(self) -> float:
        return self._wall_s


@pytest.mark.parametrize(
    ("ahead_s", "shown"),
    [
        (30.0, ""),
        (-3600.0, ""),
        (90.0, "1.5 minutes ahead"),
        (-8 * 86_400, "8.0 days behind"),
        (7 * YEAR_S, "7.0 years ahead"),
        (-53 * YEAR_S, "53.0 years behind"),
    ],
)
def test_it_is_taken_marked_and_shown(
    tmp_path: Path, outbox: Path, monkeypatch: pytest.MonkeyPatch, ahead_s: float, shown: str
) -> None:
    arrival_s = FRAMES_S - ahead_s
    hub = HubService.open(HubOptions(directory=tmp_path / "hub"), Restarted(arrival_s), RealDisk())
    put(hub, sealed(outbox))
    (row,) = hub.episodes()
    assert (row["received_wall_s"], row["wall_offset_s"]) == (arrival_s, pytest.approx(ahead_s))
    assert row["clock_suspect"] == bool(shown)
    monkeypatch.setattr(wiring, "open_hub", lambda config: hub)
    said = CliRunner().invoke(app, ["episodes", "ls"], env={"COLUMNS": "400"}).output
    assert shown in said
    assert (" ahead" in said) == shown.endswith("ahead")
    hub.close()


def test_an_episode_without_frames_says_nothing_of_its_clock(world: World, outbox: Path) -> None:
    put(world.hub, sealed(outbox, ""))
    (row,) = world.hub.episodes()
    assert (row["wall_offset_s"], row["clock_suspect"]) == (None, False)
