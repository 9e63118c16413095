"""A hub and learners as processes of their own, for the tests of the learner."""

import subprocess
import sys
from pathlib import Path

import pytest
from learner_alive import LearnerProcess

HERE = Path(__file__).parent


@pytest.fixture
def hub(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(HERE / "hub_process.py"), str(tmp_path / "hub")], stdout=subprocess.PIPE, text=True
    )
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(20)


@pytest.fixture
def learner_process(tmp_path, hub):
    """Starts learners of one directory; none outlives the test."""
    started = []

    def begin(settings: str) -> LearnerProcess:
        started.append(LearnerProcess(hub, tmp_path / "learner", tmp_path / "demos", settings))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait(20)
