"""The actor as a process: it waits for a release, drives in real time, and ends in order."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from slider import release, weights

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.host import HostDirectory
from fleetloop.core.outcome import Outcome
from fleetloop.core.recording import seal
from fleetloop.weights.codec import to_safetensors

PROGRAM = Path(__file__).with_name("actor_process.py")


@pytest.fixture
def host(tmp_path):
    return HostDirectory(tmp_path, RealDisk())


@pytest.fixture
def start(host):
    started = []

    def launch(limit_s=600.0, breaks_at=-1.0, robot="robot-1"):
        arguments = [sys.executable, str(PROGRAM), str(host.root), str(limit_s), str(breaks_at), robot]
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()
        process.wait()


def install(host, version, mark=0.0):
    host.install(release(version, mark), to_safetensors(weights(mark)))


def until(condition, limit_s=30.0):
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.01)
    return value


def status(host):
    return next(iter(host.statuses()), None)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGHUP])
def test_it_waits_drives_and_ends_its_episode_when_told_to_stop(host, start, told):
    process = start()
    until(lambda: (said := status(host)) and said.phase == "waiting")
    (registration,) = host.registrations()
    assert (registration.robot, registration.tasks) == ("robot-1", ("slide/far",))
    install(host, 1)
    until(lambda: status(host).frames >= 10)
    process.send_signal(told)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "waits for a first release" in said
    assert status(host).phase == "stopped"
    (partial,) = host.spool.glob("*.partial")
    episode = Episode.open(seal(RealDisk(), partial).path)
    assert episode.meta.outcome is Outcome.ABORTED
    assert len(episode) == status(host).frames
    tick = episode.column("tick")
    assert tick[-1] + 1 == len(episode) + episode.meta.ending.ticks_missed
    assert (episode.action[:, 0] <= tick).all()


def test_without_a_courier_it_says_that_the_hub_is_away(host, start):
    process = start()
    until(lambda: (said := status(host)) and "hub: no orders come" in said.alarm)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert "who operates this robot may take it over all the same" in said


def test_episode_after_episode_with_swaps_in_between(host, start):
    install(host, 1, mark=1.0)
    start(limit_s=0.3)
    until(lambda: status(host) and status(host).episodes >= 1)
    install(host, 2, mark=2.0)
    until(lambda: status(host).release == 2)
    enough = status(host).episodes + 2
    until(lambda: status(host).episodes >= enough)
    releases = []
    for partial in sorted(host.spool.glob("*.partial")):
        if not RealDisk().in_use(partial):
            episode = Episode.open(seal(RealDisk(), partial).path)
            (version,) = set(episode.column("release").tolist())
            assert set(episode.action[:, 1]) == {np.float32(version)}
            releases.append(version)
    assert releases == sorted(releases)
    assert set(releases) == {1, 2}


def test_rubbish_is_collected_between_episodes_and_never_in_mid_motion(host, start):
    install(host, 1)
    start(robot="hoarder")
    until(lambda: status(host) and status(host).episodes >= 3)
    collections = (host.root / "collections").read_text().split("\n")
    assert collections.count("at rest") >= 3
    assert "moving" not in collections


def test_what_breaks_in_a_thread_ends_the_process_loudly(host, start):
    install(host, 1)
    process = start(limit_s=0.3, breaks_at=13.0)
    until(lambda: status(host) and status(host).episodes >= 1)
    install(host, 2, mark=13.0)
    _, said = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "this policy can't be built" in said


def test_a_release_that_kills_the_actor_is_refused_when_it_starts_again(host, start):
    for version, mark in ((1, 1.0), (2, 2.0), (3, -13.0)):
        install(host, version, mark)
    assert start(limit_s=0.3).wait(20) == 9
    process = start(limit_s=0.3)
    until(lambda: status(host) and status(host).episodes >= 1)
    assert status(host).release == 2, "the newest good one on the disk"
    assert "release 3 is unusable, keeps 2" in status(host).alarm
    assert "died loading it" in status(host).alarm
    install(host, 4, mark=4.0)
    until(lambda: status(host).release == 4 and not status(host).alarm)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    again = start(limit_s=600)
    until(lambda: status(host).phase == "running")
    assert status(host).release == 4, "what has driven once is not on trial any more, even if its actor is killed"
    again.kill()
    again.wait()
    start(limit_s=0.3)
    until(lambda: status(host).phase == "running")
    assert (status(host).release, status(host).alarm) == (4, "")


def test_a_release_whose_first_chunk_is_nonsense_is_refused_too(host, start):
    install(host, 1, mark=1.0)
    install(host, 2, mark=float("inf"))
    process = start(limit_s=0.3)
    _, said = process.communicate(timeout=20)
    assert "not finite" in said
    assert process.returncode != 0
    start(limit_s=0.3)
    until(lambda: status(host).episodes >= 1)
    assert status(host).release == 1
    assert "release 2 is unusable" in status(host).alarm


def test_with_no_other_on_the_disk_it_gets_a_second_chance_and_no_third(host, start):
    install(host, 1, mark=-13.0)
    for _ in range(2):
        assert start().wait(20) == 9
    start()
    until(lambda: (said := status(host)) and "died loading it" in said.alarm)
    assert (status(host).phase, status(host).release) == ("waiting", 0)
    install(host, 2, mark=2.0)
    until(lambda: status(host).release == 2 and not status(host).alarm)


def test_what_has_driven_after_a_second_chance_is_as_good_as_any(host, start):
    install(host, 1, mark=1.0)
    host.note_trial("robot-1", {"loading": release(1, 1.0).result_hash, "deaths": {}})
    process = start()
    until(lambda: (said := status(host)) and said.phase == "running")
    until(lambda: host.trial("robot-1") == {"loading": "", "deaths": {}})
    process.kill()
    process.wait()
