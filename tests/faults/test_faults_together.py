"""Episodes that come at once share a commit: a power cut after their acknowledgements takes none of them."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from faulty_disk import FaultyDisk, NeverForced, Platters

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Ending, EpisodeMeta
from fleetloop.core.errors import FleetLoopError
from fleetloop.core.frame import Frame, Observation, Source
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import Recording, Sealed, seal
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService
from fleetloop.hub.storage.directory import DirectoryStore

SPEC = RobotSpec("point", (FeatureSpec("place", (1,)),), FeatureSpec("target", (1,)), 10.0)
AT_ONCE, EPISODES = 8, 24


def some(directory: Path) -> list[Sealed]:
    rng, disk = np.random.default_rng(0), RealDisk()
    found = []
    for number in range(EPISODES):
        meta = EpisodeMeta(new_id(1e9 + number, rng), "run", f"robot-{number}", "site", "far", "", "online", SPEC)
        recording = Recording(disk, directory, meta)
        value = np.zeros(1, np.float32)
        recording.add(Frame(0, 0.0, 1e9, Observation({"place": value}, 0.0), value, value, Source.POLICY, 1, 0, 0))
        recording.finish(Ending(Outcome.SUCCESS, Judge.SIMULATOR))
        found.append(seal(disk, recording.path))
    return found


def lost_by_a_power_cut(tmp_path: Path, disk: Callable[..., FaultyDisk] = FaultyDisk) -> set[str]:
    """The episodes that were acknowledged, and can't be had after it."""
    platters, options = Platters(random.Random(0)), HubOptions(directory=tmp_path / "hub")
    robots = tmp_path / "robots"
    robots.mkdir()
    episodes = some(robots)
    hub = HubService.open(options, Virtual(), disk(platters, lambda: None))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda one: hub.put_episode(one.meta.id, one.path, one.hash), episodes))
    hub.close()
    platters.lose_power()
    hub, lost = HubService.open(options, Virtual(), RealDisk()), set[str]()
    assert len(hub.episodes()) == EPISODES
    for one in episodes:
        try:
            hub.get_episode(one.meta.id, tmp_path / "copy")
        except FleetLoopError:
            lost.add(one.meta.id)
    hub.close()
    return lost


def test_a_power_cut_takes_nothing_that_was_acknowledged_together(tmp_path):
    assert lost_by_a_power_cut(tmp_path) == set()


def test_a_disk_that_forces_nothing_is_found(tmp_path):
    assert lost_by_a_power_cut(tmp_path, NeverForced)


def test_names_that_are_forgotten_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(DirectoryStore, "settle", lambda self, name: None)
    assert lost_by_a_power_cut(tmp_path)
