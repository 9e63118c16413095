"""An episode that is damaged after it was acknowledged: found by whoever reads it, put aside, reported, skipped."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hub_world import POLICY, World, behind_http, in_process, put, sealed
from large_uploads import large
from typer.testing import CliRunner

from fleetloop.algorithms.bc import BehaviourCloning, BehaviourCloningOptions
from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.errors import HubRefused
from fleetloop.core.recording import Sealed
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.rebuild import rebuild
from fleetloop.learner.buffer.cache import EpisodeCache
from fleetloop.learner.feeder import Feeder

Opened = Callable[[HubOptions, Virtual], AbstractContextManager[World]]


def refusal(world: World, id: str, path: Path) -> str:
    with pytest.raises(HubRefused) as error:
        world.hub.get_episode(id, path)
    assert error.value.status == 410
    assert not path.exists()
    return str(error.value)


def test_it_is_put_aside_and_reported_also_after_a_restart(
    opened: Opened, options: HubOptions, outbox: Path, tmp_path: Path
) -> None:
    sound, damaged = sealed(outbox), sealed(outbox)
    name = f"{damaged.meta.id}.arrow"
    with opened(options, Virtual(1000)) as world:
        for episode in (sound, damaged):
            put(world.hub, episode)
        assert world.hub.fleet().alarm == ""
        world.kept.damage(f"episodes/{name}")
        left = world.kept.read(f"episodes/{name}")
        assert "is damaged" in refusal(world, damaged.meta.id, tmp_path / "copy")
        assert world.kept.read(f"quarantine/{name}") == left
        assert world.kept.names("episodes") == [f"episodes/{sound.path.name}"]
    with opened(options, Virtual(2000)) as world:
        assert "is damaged" in refusal(world, damaged.meta.id, tmp_path / "copy")
        assert damaged.meta.id in world.hub.fleet().alarm
        assert {row["id"]: row["damaged"] for row in world.hub.episodes()} == {
            sound.meta.id: False,
            damaged.meta.id: True,
        }
        world.hub.get_episode(sound.meta.id, tmp_path / "copy")


def test_one_that_is_gone_is_reported_too(world: World, outbox: Path, tmp_path: Path) -> None:
    episode = sealed(outbox)
    put(world.hub, episode)
    world.kept.remove(f"episodes/{episode.path.name}")
    assert "gone" in refusal(world, episode.meta.id, tmp_path / "copy")
    assert episode.meta.id in world.hub.fleet().alarm


@pytest.mark.parametrize("lost", ["damaged", "gone", "damaged, with a new catalog", "damaged, and lost by the catalog"])
@pytest.mark.parametrize("made", [sealed, large], ids=["small", "large"])
def test_one_that_comes_again_is_whole_again(
    options: HubOptions, outbox: Path, tmp_path: Path, made: Callable[[Path], Sealed], lost: str
) -> None:
    episode = made(outbox)
    name = f"episodes/{episode.path.name}"
    with behind_http(options, Virtual(time.time())) as world:
        seq = put(world.hub, episode)
        if lost == "gone":
            world.kept.remove(name)
        else:
            world.kept.damage(name)
        refusal(world, episode.meta.id, tmp_path / "copy")
        if lost == "damaged, and lost by the catalog":
            world.kept.remove(f"events/{seq:012d}.json")
    if "catalog" in lost:
        rebuild(options, Virtual(time.time()), RealDisk())
    with behind_http(options, Virtual(time.time())) as world:
        assert put(world.hub, episode) == seq
        assert put(world.hub, episode) == seq
        world.hub.get_episode(episode.meta.id, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == episode.path.read_bytes()
        assert world.hub.fleet().alarm == ""
        assert world.kept.names("episodes", "quarantine", "incoming") == [name]


def test_the_learner_goes_on_without_it(world: World, outbox: Path, tmp_path: Path) -> None:
    first, damaged, last = (sealed(outbox, purpose="demonstration") for _ in range(3))
    for episode in (first, damaged, last):
        put(world.hub, episode)
    world.kept.damage(f"episodes/{damaged.path.name}")
    cache = EpisodeCache(world.hub, RealDisk(), tmp_path / "cache", 1 << 30)
    feeder = Feeder(world.hub, cache, BehaviourCloning(BehaviourCloningOptions()), POLICY)
    assert feeder.pull() == 3
    assert [arrival.prepared is not None for arrival in feeder.take()] == [True, False, True]
    assert feeder.refused == 1
    assert damaged.meta.id in feeder.alarm


@pytest.mark.parametrize("store", [""])
def test_the_commands_say_so(served: World, options: HubOptions, outbox: Path, tmp_path: Path) -> None:
    sound, damaged = sealed(outbox), sealed(outbox)
    for episode in (sound, damaged):
        put(served.hub, episode)
    served.kept.damage(f"episodes/{damaged.meta.id}.arrow")
    refusal(served, damaged.meta.id, tmp_path / "copy")
    assert isinstance(served.hub, HttpHub)
    listed = said("episodes", "ls", "--hub", served.hub.url)
    for episode in (sound, damaged):
        (line,) = (line for line in listed if episode.meta.id in line)
        assert ("damaged" in line) == (episode is damaged)
    (alarm,) = (line for line in said("status", "--once", "--hub", served.hub.url) if line.startswith("hub:"))
    assert f"1 episodes are damaged or gone, the newest is {damaged.meta.id}" in alarm


@pytest.mark.parametrize("store", [""])
def test_a_rebuild_names_what_is_damaged(options: HubOptions, outbox: Path) -> None:
    episode = sealed(outbox)
    with in_process(options, Virtual(1000)) as world:
        put(world.hub, episode)
        world.kept.damage(f"episodes/{episode.meta.id}.arrow")
    lines = said("hub", "rebuild", "--directory", options.directory)
    assert lines[0].startswith("1 episodes")
    (line,) = (line for line in lines if line.startswith("damaged: "))
    assert f"episodes/{episode.meta.id}.arrow: hashes to" in line


def said(*words: object) -> list[str]:
    """What a command prints, in lines of any length."""
    return CliRunner(env={"COLUMNS": "500"}).invoke(app, [str(word) for word in words]).output.splitlines()
