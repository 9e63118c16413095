"""Actor, courier and hub as real processes that are killed on purpose: nothing acknowledged is ever lost."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from spooled import ROBOT, record, release

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import HubUnavailable
from fleetloop.core.host import HostDirectory
from fleetloop.core.outcome import Outcome
from fleetloop.hub.http.client import HttpHub
from ports import free_port

PROGRAM = Path(__file__).with_name("processes.py")
ACTOR = Path(__file__).parents[1] / "actor" / "actor_process.py"


class World:
    """One hub and one host; every process can be killed and started again."""

    def __init__(self, root):
        self.root, self.host = root, HostDirectory(root / "host", RealDisk())
        self.port = free_port()
        self.hub = HttpHub(f"http://127.0.0.1:{self.port}")
        self.processes = []

    def start(self, kind, **said):
        arguments = {
            "hub": [PROGRAM, "hub", self.root / "hub", self.port],
            "courier": [PROGRAM, "courier", self.host.root, self.hub.url, *said.values()],
            "actor": [ACTOR, self.host.root, said.get("limit_s", 0.3), -1, said.get("robot", "robot-1")],
        }[kind]
        log = (self.root / f"{kind}.log").open("a")
        process = subprocess.Popen([sys.executable, *map(str, arguments)], stderr=log)
        log.close()
        self.processes.append(process)
        return process

    def log(self, kind):
        return (self.root / f"{kind}.log").read_text()

    def rows(self):
        try:
            return self.hub.episodes()
        except HubUnavailable:
            return []

    def ids(self):
        return {row["id"] for row in self.rows()}

    def publish(self, version, mark):
        manifest, blobs = release(0, mark)
        for hash, blob in blobs.items():
            self.hub.put_blob(hash, blob)
        assert self.hub.publish(manifest, self.hub.claim_lease("test")).version == version


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    for process in world.processes:
        process.kill()
        process.wait()


def until(condition, limit_s=30.0):
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.02)
    return value


def kill(process):
    process.kill()
    process.wait()


def fetched(world, id):
    path = world.root / f"{id}.arrow"
    world.hub.get_episode(id, path)
    return Episode.open(path)


def test_the_loop_from_release_to_episode_with_an_actor_killed_in_the_middle(world):
    world.start("hub")
    world.start("courier")
    until(lambda: _up(world))
    world.publish(1, 3.0)
    actor = world.start("actor", limit_s=600)
    until(lambda: any(s.frames > 10 for s in world.host.statuses()))
    until(lambda: world.hub.fleet().members)
    (partial,) = world.host.spool.glob("*.partial")
    kill(actor)
    until(lambda: partial.stem in world.ids())
    episode = fetched(world, partial.stem)
    assert episode.meta.outcome is Outcome.ABORTED
    assert len(episode) > 0
    assert (episode.column("release") == 1).all()
    assert (episode.action[:, 1] == 3.0).all()
    until(lambda: not list(world.host.spool.glob("*.arrow")))
    (member,) = world.hub.fleet().members
    assert member.registration.spec.state[0].name == ROBOT.state[0].name


def test_courier_and_hub_are_killed_while_episodes_flow(world):
    hub, courier = world.start("hub"), world.start("courier")
    until(lambda: _up(world))
    world.publish(1, 1.0)
    actor = world.start("actor")
    until(lambda: len(world.ids()) >= 2)
    kill(courier)
    acknowledged = world.ids()
    courier = world.start("courier")
    until(lambda: len(world.ids()) >= len(acknowledged) + 2)
    assert acknowledged <= world.ids()
    acknowledged = world.ids()
    kill(hub)
    before = next(iter(world.host.statuses())).episodes
    until(lambda: next(iter(world.host.statuses())).episodes >= before + 2)
    until(lambda: list(world.host.spool.glob("*.arrow")))
    world.start("hub")
    actor.send_signal(signal.SIGTERM)
    assert actor.wait(20) == 0
    driven = next(iter(world.host.statuses())).episodes
    until(lambda: not [*world.host.spool.glob("*.arrow"), *world.host.spool.glob("*.partial")])
    assert acknowledged <= world.ids()
    rows = world.rows()
    assert len(rows) == len({row["id"] for row in rows}) == driven
    courier.send_signal(signal.SIGTERM)
    assert courier.wait(20) == 0


def _up(world):
    try:
        return world.hub.fleet()
    except HubUnavailable:
        return None


def test_a_courier_that_is_stopped_uploads_what_is_left_first(world):
    world.start("hub")
    until(lambda: _up(world))
    ids = {record(world.host, number) for number in range(30)}
    courier = world.start("courier")
    until(world.ids)
    courier.send_signal(signal.SIGTERM)
    assert courier.wait(20) == 0, world.log("courier")
    assert world.ids() == ids


def test_with_the_hub_away_at_the_start_it_says_so_and_goes_on_when_it_comes(world):
    id = record(world.host, 1)
    world.start("courier")
    until(lambda: "can't be reached" in world.log("courier"))
    world.start("hub")
    until(lambda: world.ids() == {id})
    world.publish(1, 2.0)
    until(lambda: world.host.current_version() == 1)


def test_one_courier_is_enough_for_a_host(world):
    first = world.start("courier")
    until(lambda: (world.host.root / "courier.lock").exists() and RealDisk().in_use(world.host.root / "courier.lock"))
    second = world.start("courier")
    assert second.wait(20) != 0
    assert "another courier serves this directory" in world.log("courier")
    assert first.poll() is None


def test_one_courier_serves_two_actors_of_which_one_dies(world):
    world.start("hub")
    world.start("courier")
    until(lambda: _up(world))
    world.publish(1, 1.0)
    world.start("actor", robot="robot-1")
    dying = world.start("actor", robot="robot-2", limit_s=600)
    until(lambda: {status.robot for status in world.host.statuses() if status.frames > 10} == {"robot-1", "robot-2"})
    until(lambda: {member.registration.robot for member in world.hub.fleet().members} == {"robot-1", "robot-2"})
    kill(dying)
    (torn,) = until(lambda: [row for row in world.rows() if row["robot"] == "robot-2"])
    assert torn["outcome"] == "aborted"
    assert torn["frames"] > 0
    others = len([row for row in world.rows() if row["robot"] == "robot-1"])
    until(lambda: len([row for row in world.rows() if row["robot"] == "robot-1"]) >= others + 2)
    world.start("actor", robot="robot-2", limit_s=0.3)
    until(lambda: any(row["robot"] == "robot-2" and row["outcome"] == "timeout" for row in world.rows()))


def test_a_paced_upload_holds_up_neither_beats_nor_releases(world):
    world.start("hub")
    until(lambda: _up(world))
    large = record(world.host, 1, frames=20_000)
    world.start("courier", mbps=0.1)  # the upload would take a minute
    world.start("actor", limit_s=600)
    until(lambda: list((world.root / "hub").rglob("incoming/*")))
    for version in (1, 2):
        world.publish(version, float(version))
        until(lambda: world.host.current_version() == version)  # noqa: B023
    heard = until(lambda: _frames(world))
    until(lambda: _frames(world) > heard)
    assert large not in world.ids()


def _frames(world):
    return sum(member.status.frames for member in world.hub.fleet().members if member.status)


def test_a_rollback_in_one_call_reaches_the_robot_and_stays_back_through_new_releases_and_a_killed_hub(world):
    def runs(version):
        return lambda: (said := next(iter(world.host.statuses()), None)) and said.release == version and said.episodes

    hub = world.start("hub")
    world.start("courier")
    until(lambda: _up(world))
    world.publish(1, 1.0)
    world.publish(2, 2.0)
    world.start("actor")
    until(runs(2))
    world.hub.roll_back(1)
    until(runs(1))
    world.publish(3, 3.0)
    kill(hub)
    world.start("hub")
    until(lambda: _up(world))
    world.publish(4, 4.0)
    enough = runs(1)() + 2
    until(lambda: runs(1)() >= enough)
    assert (world.hub.fleet().stable, world.hub.fleet().edge) == (1, 4)
    world.hub.pin("robot-1", 3)
    until(runs(3))
    assert world.host.current_version() == 1
    world.hub.pin("robot-1", 0)
    until(runs(1))
    world.hub.promote(4)
    until(runs(4))
