"""A learner that really runs: in a process of its own, or its threads in this one."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from learner_world import demonstrations, hg_dagger, options, tiny_base

from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.learner.assemble import Surroundings
from fleetloop.learner.run import run

HERE = Path(__file__).parent


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> object:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


class LearnerProcess:
    """A learner on its own; `steps()` is how far its metrics have come."""

    def __init__(self, hub: str, directory: Path, demos: Path, settings: str) -> None:
        self.directory = directory
        command = [sys.executable, str(HERE / "learner_process.py"), hub, str(directory), str(demos), settings]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def rows(self) -> list[dict]:
        path = self.directory / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [row for row in found if row["kind"] == "step"]

    def steps(self) -> int:
        assert self.process.poll() is None, self.process.stderr.read()
        return self.rows()[-1]["step"] if self.rows() else 0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.process.stderr.read()


def start(tmp_path, hub, *, demos=2, base=None, algorithm=None, say=lambda line: None, **changes):
    """`run` in a thread; returns (stop, outcome): outcome() waits for the end and raises what `run` raised."""
    stop, result = threading.Event(), []

    def body():
        try:
            settings = options(steps_per_s=100.0, **changes)
            around = Surroundings(hub, Wall(), RealDisk(), tmp_path / "learner")
            held = demonstrations(tmp_path / "demos", demos)

            def begin():
                return base or tiny_base(), algorithm or hg_dagger()

            result.append(run("run", settings, begin, around, demonstrations=held, stop=stop, say=say))
        except Exception as error:  # noqa: BLE001  raised by outcome()
            result.append(error)

    thread = threading.Thread(target=body)
    thread.start()

    def outcome():
        thread.join(30)
        assert not thread.is_alive()
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]

    return stop, outcome
