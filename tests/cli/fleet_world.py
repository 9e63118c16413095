"""A real fleet for the tests: processes started by the `fleetloop` command, on a scaled clock, over loopback HTTP."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fleetloop.core.hub import Fleet as FleetView
from fleetloop.core.hub import RobotStatus
from fleetloop.hub.http.client import HttpHub
from ports import free_port

COMMAND = str(Path(sys.executable).with_name("fleetloop"))
ROBOT = "robot-1"
DEADLINE_S = 60.0
Found = TypeVar("Found")

SETTINGS = {
    "tasks": ["restock/shelf"],
    "robots": [{"name": ROBOT, "site": 1}],
    "robot": {"options": {"initial_ticks": 0, "events": 0, "noise_m": 0, "reset_s": 0.5}},
    # Quick to disagree, so that there are corrections in the first episode.
    "operator": {"name": "scripted", "options": {"take_over_above": 0.05, "reaction": 0, "patience": 0}},
    "policy": {"name": "flow", "options": {"width": 32, "depth": 1, "words": 8}},
    "pretrain": {"steps": 10, "batch": 16},
    "courier": {"retry_longest_wall_s": 0.5},
    "learner": {
        "steps_per_s": 4,
        "batch": 32,
        "publish_every_steps": 10,
        "checkpoint_every_s": 4,
        "report_every_s": 1,
        "tensorboard": False,
    },
}


def until(found: Callable[[], Found], what: str) -> Found:
    """Ask until the answer is true; fails after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {DEADLINE_S:.0f} s in vain: {what}")


class FleetProcesses:
    """hub, learner, courier and one actor in a directory of their own.

    Attributes:
        acknowledged: id -> first outcome, of every episode that the hub ever said it has.
        annotated: the one whose outcome a person has changed.
    """

    def __init__(
        self, directory: Path, settings: Mapping[str, Any] = SETTINGS, environment: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self._environment = {**os.environ, **(environment or {})}
        self.spool = directory / "host" / "spool"
        self.acknowledged: dict[str, str] = {}
        self.annotated = ""
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.port = free_port()
        settings = {**settings, "hub": {"port": self.port}, "clock": {"file": "clock", "factor": 4.0}}
        (directory / "fleet.yaml").write_text(yaml.safe_dump(settings))
        self.hub = HttpHub(f"http://127.0.0.1:{self.port}")

    def start(self, name: str, *flags: str) -> None:
        arguments = [COMMAND, name, *(["--robot", ROBOT] if name == "actor" else []), *flags]
        with (self.directory / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                arguments, cwd=self.directory, stdout=log, stderr=log, env=self._environment
            )

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def end(self, name: str) -> int:
        """Ask it to stop; returns its exit status."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(DEADLINE_S)

    def said(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    # ------------------------------------------------------------------ what the hub knows

    def view(self) -> FleetView:
        self._nobody_died()
        return self.hub.fleet()

    def robot(self) -> RobotStatus | None:
        members = self.view().members
        return members[0].status if members else None

    def episodes(self) -> dict[str, str]:
        """id -> outcome, of all that the hub has. What it ever said is kept in `acknowledged`."""
        known = {row["id"]: row["outcome"] for row in self.hub.episodes()}
        self.acknowledged = known | self.acknowledged
        return known

    def _nobody_died(self) -> None:
        for name, process in self.running.items():
            assert process.poll() is None, f"{name} ended by itself:\n{self.said(name)}"

    def clean_up(self) -> None:
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()
        self.hub.close()
