"""The demo: its directory, its processes, what it shows, and what it leaves behind however it ends."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from demo_rows import measured, robot, row
from rich.console import RenderableType

from fleetloop.cli import tables
from fleetloop.cli.config import load_config
from fleetloop.cli.config_text import to_yaml
from fleetloop.cli.demo.crew import Crew, WorkerDied, gather
from fleetloop.cli.demo.curve import draw
from fleetloop.cli.demo.figures import MEASURED
from fleetloop.cli.demo.moment import Moment
from fleetloop.cli.demo.place import cleared
from fleetloop.cli.demo.plan import DemoPlan, fleet_config, free_port
from fleetloop.cli.demo.processes import FleetProcesses, ProcessDied
from fleetloop.cli.demo.summary import summary
from fleetloop.cli.demo.view import screen, sparkline, status_line
from fleetloop.core.errors import ConfigInvalid, DiskTrouble, UnknownName
from fleetloop.core.hub import Fleet, Member, Orders, Registration
from fleetloop.sim.robot import sim_spec
from fleetloop.sim.tasks import sim_task

TINY_DEMO = Path(__file__).parent / "tiny_demo.py"

# ---------------------------------------------------------------------- its directory


def test_a_demo_removes_what_an_earlier_one_left_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    with cleared(directory):
        (directory / "hub").mkdir()
        (directory / "report.json").write_text("{}")
        (directory / "mine.txt").write_text("kept")
    with cleared(directory):
        assert {path.name for path in directory.iterdir()} == {".fleetloop-demo", "logs", "mine.txt"}


def test_a_demo_keeps_out_of_a_directory_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    with pytest.raises(ConfigInvalid, match="--directory"), cleared(tmp_path):
        pass
    assert (tmp_path / "hub").exists()


def test_two_demos_do_not_share_a_directory(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    with cleared(directory), pytest.raises(DiskTrouble, match="another demo"), cleared(directory):
        pass


# ---------------------------------------------------------------------- its processes


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    config = fleet_config(DemoPlan(tmp_path, ("box/walls",), real_time=True), free_port())
    (tmp_path / "fleet.yaml").write_text(to_yaml(config, docs=False))
    return tmp_path


def test_a_process_that_dies_is_named_with_its_log_and_its_last_words(configured: Path) -> None:
    port = load_config(configured / "fleet.yaml").hub.port
    with (
        socket.create_server(("127.0.0.1", port)),
        FleetProcesses(configured / "fleet.yaml", configured / "logs") as processes,
    ):
        processes.start("hub", "hub")
        with pytest.raises(ProcessDied, match=rf"(?s)hub: has ended with code 1.*port {port}.*logs/hub\.log"):
            until(processes.check)


def test_a_process_that_is_told_to_stop_while_it_starts_has_not_died(configured: Path) -> None:
    with FleetProcesses(configured / "fleet.yaml", configured / "logs") as processes:
        processes.start("hub", "hub")
        processes.stop("hub")
        assert not processes.ended()


def test_processes_end_with_the_block_whatever_ends_it(configured: Path) -> None:
    with (
        suppress(ZeroDivisionError),
        FleetProcesses(configured / "fleet.yaml", configured / "logs") as processes,
    ):
        processes.start("courier", "courier")
        assert len(children(os.getpid(), "courier")) == 1
        raise ZeroDivisionError
    assert children(os.getpid(), "courier") == []


def test_workers_do_as_told_and_pass_errors_on() -> None:
    with Crew() as crew:
        assert gather([crew.submit(divmod, 7, 2), crew.submit(divmod, 9, 2)]) == [(3, 1), (4, 1)]
        with pytest.raises(ZeroDivisionError):
            gather([crew.submit(divmod, 1, 0)])
        with pytest.raises(UnknownName, match="box/walls"):
            gather([crew.submit(sim_task, "box/wall")])
        with pytest.raises(WorkerDied):
            gather([crew.submit(os._exit, 1)])


def test_a_demo_that_fails_does_not_wait_for_its_workers() -> None:
    began = time.monotonic()
    with suppress(ZeroDivisionError), Crew() as crew:
        pid = crew.submit(os.getpid).result()
        crew.submit(time.sleep, 600)
        raise ZeroDivisionError
    assert time.monotonic() - began < 300
    assert not psutil.pid_exists(pid)


# ---------------------------------------------------------------------- what a person sees


def printed(what: RenderableType) -> str:
    console = tables.console(width=120, file=io.StringIO(), record=True)
    console.print(what)
    return console.export_text()


def moment() -> Moment:
    spec = sim_spec()
    statuses = [
        robot("r1", 3, task="box/walls", release=4, ticks_missed=2),
        replace(robot("r2"), alarm="the disk is full"),
    ]
    members = tuple(
        Member(Registration(status.robot, "host", "site-1", ("box/walls",), spec), status, 0.0, Orders(status.robot))
        for status in statuses
    )
    fleet = Fleet(130.0, members, None, 0.0, 3, 5, 5, alarm="2 episodes are damaged")
    rows = [row("a", last=20.0), row("b", last=30.0, frames_human=50, interventions=1)]
    return Moment(("box/walls", "laundry/fold"), 120.0, 600.0, 7.5, fleet, rows)


def test_a_status_line_says_how_far_it_is_and_what_is_wrong() -> None:
    line = status_line(moment())
    for part in (
        "2.0 of 10 min",
        "box/walls 0.50",
        "laundry/fold –",
        "1 interventions",
        "7.5x",
        "ALARM hub: 2 epi",
        "ALARM r2: the disk",
    ):
        assert part in line


def test_the_screen_shows_tasks_robots_and_alarms() -> None:
    text = printed(screen(moment()))
    for part in ("box/walls", "0.50", "r2", "the disk is full", "2.0 of 10 simulated minutes", "25%"):
        assert part in text


def test_a_sparkline_keeps_its_first_and_its_last_value() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    thinned = sparkline([0.0, *[0.5] * 100, 1.0])
    assert (thinned[0], thinned[-1], len(thinned)) == ("▁", "█", 16)


@pytest.mark.parametrize("rows", [[], [row(str(number), last=60.0 * number) for number in range(9)]])
def test_the_curve_is_drawn_however_little_there_is(tmp_path: Path, rows: list[Any]) -> None:
    path = tmp_path / "curve.png"
    draw(path, rows, measured(10, 30, 12, 40), began_s=5.0, minutes=10.0, clock="scaled")
    assert path.read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------------- the whole


def children(pid: int, command: str = "") -> list[psutil.Process]:
    """The living descendants that run this command of fleetloop, or any program."""
    found = psutil.Process(pid).children(recursive=True)
    return [child for child in found if child.status() != psutil.STATUS_ZOMBIE and command in " ".join(child.cmdline())]


def until(condition: Any, patience_s: float = 120.0) -> None:
    """Poll until it is true or raises."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(TINY_DEMO), str(tmp_path / "demo"), *arguments]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return running[-1]

    yield start
    for process in running:
        family = [psutil.Process(process.pid), *children(process.pid)] if process.poll() is None else []
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()


REPORT = {
    *("tasks", "average", "episodes", "frames", "interventions", "human_share", "autonomous_share", "releases"),
    *("learner_steps", "replay_ratio", "data_wait", "lost", "duplicated", "ticks_missed", "bytes_up", "bytes_down"),
    *("wall_s", "cpu_s", "time_scale", "latency_s", "seed", "options", "versions", "operator", "stages_wall_s"),
}


@pytest.mark.long
@pytest.mark.gl
@pytest.mark.timeout(600)
def test_a_tiny_demo_through_cameras(tmp_path: Path, started: Any) -> None:
    process = started("0.5", "images")
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert "box/walls: " in said  # how far off the encoder is
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report["options"]["observe"] == "images"
    assert report["episodes"] > 0
    assert report["learner_steps"] > 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_tiny_demo_from_end_to_end(tmp_path: Path, started: Any) -> None:
    process = started("0.5")
    seen: set[psutil.Process] = set()
    while process.poll() is None:
        seen |= set(children(process.pid))
        time.sleep(0.2)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert set(report) >= REPORT
    assert set(report["tasks"]["box/walls"]) == set(MEASURED)
    assert report["lost"] == report["duplicated"] == report["left_in_spool"] == 0
    assert report["episodes"] > 0
    assert report["learner_steps"] > 0
    assert report["bytes_up"] > 0
    assert report["bytes_down"] > 0
    assert report["cpu_s"] > 0
    assert (tmp_path / "demo" / "curve.png").stat().st_size > 0
    assert len(seen) >= 7  # two workers, hub, courier, learner and two actors
    until(lambda: not any(child.is_running() for child in seen), patience_s=10)
    assert "No episode was lost" in printed(summary(report, Path("demo")))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["learner dies", "Ctrl-C", "terminated"])
def test_a_demo_that_is_cut_short_leaves_nobody_behind(started: Any, way: str) -> None:
    process = started("60")
    until(lambda: process.poll() is not None or len(children(process.pid, "fleetloop actor")) == 2)
    assert process.poll() is None, process.communicate()[0]
    everybody = children(process.pid)
    if way == "learner dies":
        until(lambda: children(process.pid, "fleetloop learner"))
        children(process.pid, "fleetloop learner")[0].kill()
    else:
        process.send_signal(signal.SIGINT if way == "Ctrl-C" else signal.SIGTERM)
    said = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    until(lambda: not any(child.is_running() for child in everybody), patience_s=10)  # multiprocessing's own is last
    if way == "learner dies":
        assert "learner: has ended with code -9" in said
        assert "learner.log" in said
