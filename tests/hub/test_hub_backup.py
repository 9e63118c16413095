"""A copy of the catalog from under a running hub, and the hub that is made from it again."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from hub_world import TASKS, fresh_id, publish, put, sealed
from typer.testing import CliRunner

from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import DiskTrouble
from fleetloop.core.hub import EDGE, STABLE
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.hub.backup import back_up
from fleetloop.hub.catalog.catalog import CATALOG
from fleetloop.hub.options import HubOptions
from fleetloop.hub.rebuild import rebuild
from fleetloop.hub.service import HubService
from fleetloop.hub.tokens import Scope
from fleetloop.weights.route import obtain

OPERATE = Path(__file__).parents[2] / "docs" / "operate.md"
BY_HAND = re.findall(r"for folder in (.*); do rsync", OPERATE.read_text())
OBJECTS = BY_HAND[0].split()
EVERY_NIGHT = re.findall(r"rsync -a hub/(\w+) /mnt/backup/hub/", OPERATE.read_text())


def opened(directory: Path) -> HubService:
    return HubService.open(HubOptions(directory=directory), Virtual(1000), RealDisk(), TASKS)


def test_while_episodes_come_in_the_copy_is_whole_and_the_hub_can_be_had_again(tmp_path: Path, outbox: Path) -> None:
    hub = opened(tmp_path / "hub")
    token, secret = hub.tokens.issue(Scope.OPERATOR)
    episodes = [sealed(outbox) for _ in range(30)]
    put(hub, episodes[0])
    copied = Event()

    def send() -> None:
        for episode in episodes[1:]:
            put(hub, episode)
            if episode is episodes[20]:
                assert copied.wait(30)

    robot = Thread(target=send)
    robot.start()
    said = CliRunner().invoke(app, ["hub", "backup", str(tmp_path / "copy"), "--directory", str(tmp_path / "hub")])
    copied.set()
    robot.join()
    assert said.exit_code == 0, said.output
    events = hub.events(0)
    hub.close()
    # First the catalog, then the objects: these may know more than it.
    for name in OBJECTS:
        shutil.copytree(tmp_path / "hub" / name, tmp_path / "copy" / name)
    shutil.rmtree(tmp_path / "hub")
    found = rebuild(HubOptions(directory=tmp_path / "copy"), Virtual(1000), RealDisk())
    assert found.damaged == ()
    assert found.different is not None
    assert not [line for line in found.different if ": had " in line]
    hub = opened(tmp_path / "copy")
    assert hub.events(0) == events
    assert hub.tokens.holder(secret) == token
    hub.close()


def test_whatever_the_hub_writes_while_its_objects_are_copied_the_copy_has_all_that_it_needs(
    tmp_path: Path, outbox: Path
) -> None:
    hub = opened(tmp_path / "hub")

    def live() -> None:
        episode = sealed(outbox)
        put(hub, episode)
        hub.annotate(Annotation(fresh_id(), episode.meta.id, "ann", Judge.PERSON, 1.0, Outcome.FAILURE))
        hub.promote(publish(hub, len(hub.releases()) + 1).version)

    live()
    back_up(HubOptions(directory=tmp_path / "hub"), tmp_path / "copy", RealDisk())
    events = hub.events(0)
    for name in OBJECTS:
        live()
        shutil.copytree(tmp_path / "hub" / name, tmp_path / "copy" / name)
    live()
    hub.close()
    found = rebuild(HubOptions(directory=tmp_path / "copy"), Virtual(1000), RealDisk())
    assert found.damaged == ()
    assert found.different is not None
    assert {line.split(":")[0] for line in found.different if ": had " in line} <= {"channels", "steering"}
    hub = opened(tmp_path / "copy")
    assert hub.events(0)[: len(events)] == events
    for channel in (EDGE, STABLE):
        release = hub.channel(channel)
        assert release
        obtain(release, hub)
    hub.close()


def test_the_timer_copies_as_the_text_says() -> None:
    assert EVERY_NIGHT == OBJECTS


def test_a_later_copy_takes_the_place_of_an_earlier_one(tmp_path: Path, outbox: Path) -> None:
    hub = opened(tmp_path / "hub")
    for count in (1, 2):
        put(hub, sealed(outbox))
        path = back_up(HubOptions(directory=tmp_path / "hub"), tmp_path / "copy", RealDisk())
        with sqlite3.connect(path) as database:
            assert database.execute("SELECT count(*) FROM episodes").fetchone() == (count,)
        assert [file.name for file in (tmp_path / "copy").iterdir()] == [CATALOG]
    hub.close()


def test_a_damaged_catalog_is_not_copied_over_a_good_copy(tmp_path: Path, outbox: Path) -> None:
    hub = opened(tmp_path / "hub")
    for _ in range(20):
        put(hub, sealed(outbox))
    hub.close()
    good = back_up(HubOptions(directory=tmp_path / "hub"), tmp_path / "copy", RealDisk()).read_bytes()
    path = tmp_path / "hub" / CATALOG
    with closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_episodes_task'").fetchone()
    data = bytearray(path.read_bytes())
    task = data.index(b"restock/shelf", (page - 1) * size)  # the index and its table say different things from here on
    data[task : task + 7] = b"RESTOCK"
    path.write_bytes(data)
    with pytest.raises(DiskTrouble, match=CATALOG):
        back_up(HubOptions(directory=tmp_path / "hub"), tmp_path / "copy", RealDisk())
    assert (tmp_path / "copy" / CATALOG).read_bytes() == good


def test_what_can_not_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(DiskTrouble, match="holds no catalog"):
        back_up(HubOptions(directory=tmp_path / "nothing"), tmp_path / "copy", RealDisk())
    opened(tmp_path / "hub").close()
    with pytest.raises(DiskTrouble, match="own directory"):
        back_up(HubOptions(directory=tmp_path / "hub"), tmp_path / "hub", RealDisk())
