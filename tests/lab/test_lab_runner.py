"""Runners that are killed, that meet each other, and that find things missing."""

import signal
import subprocess
import sys
import threading

import psutil
import pytest

from fleetloop.core.errors import ConfigInvalid, DiskTrouble
from fleetloop.lab import storage
from fleetloop.lab.bench import Bench
from fleetloop.lab.experiments import FLEET
from fleetloop.lab.job import Job
from fleetloop.lab.runner import log, run_jobs
from fleetloop.lab.storage import Cache, alone, scratch

FOREVER = ["lab", "run", "fleet", "--minutes", "600", "--seeds", "1", "--arms", "robots-1", "-j", "1"]


@pytest.fixture
def job(tmp_path):
    return Job("fleet", "expert", 0, tmp_path / "results" / "fleet", tmp_path / "cache", quick=True)


def test_a_job_ends_with_a_runner_that_is_killed(tmp_path):
    places = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    command = [sys.executable, "-m", "fleetloop", *FOREVER, *places]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "begun" not in process.stderr.readline():
            assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, 120)
    assert not alive


def test_of_two_runners_one_does_the_job_and_the_other_finds_it_done(job):
    undone, said = [], []

    def run():
        undone.extend(run_jobs([job], processes=1, say=said.append))

    log(job).parent.mkdir(parents=True)
    with alone(log(job).with_suffix(".lock")):  # another runner's process is at it
        waiting = threading.Thread(target=run)
        waiting.start()
        while not any("begun" in line for line in said):
            waiting.join(0.05)
            assert waiting.is_alive()
        job.run()
        kept = job.file.read_bytes()
    waiting.join()
    assert undone == []
    assert job.file.read_bytes() == kept


def test_a_place_that_can_not_be_written_is_found_before_the_work(job, tmp_path, monkeypatch):
    (tmp_path / "results").write_text("a file")
    monkeypatch.setattr("fleetloop.lab.arms.Expert.run", lambda *ignored: pytest.fail("it worked in vain"))
    with pytest.raises(DiskTrouble, match="results"):
        job.run()


def test_what_a_killed_job_left_in_memory_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "ROOTS", (tmp_path,))
    monkeypatch.setattr(storage, "YOUNG_S", -1.0)
    abandoned, held = tmp_path / "fleetloop-lab-1-left", tmp_path / "fleetloop-lab-2-held"
    for place in (abandoned, held):
        place.mkdir()
        (place / "big").write_bytes(bytes(1000))
    with alone(held / storage.LOCK), scratch() as mine:
        assert not abandoned.exists()
        assert (held / "big").exists()
        assert mine.exists()
        with scratch():
            assert (held / "big").exists()
    assert not mine.exists()


def test_demonstrations_that_are_missing_from_the_cache_are_missed(tmp_path):
    bench = Bench(FLEET.quick, 0, tmp_path / "scratch", Cache(tmp_path / "cache"), {})
    assert len(bench.demonstrations()) == 12
    next((tmp_path / "cache").rglob("*.arrow")).unlink()
    with pytest.raises(ConfigInvalid, match="holds 3 of 4 demonstrations"):
        bench.demonstrations()
