"""The demo: its arithmetic on hand-made episodes, its rules, and what it leaves behind however it ends."""

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
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from fleetloop.cli.config import load_config
from fleetloop.cli.config_text import to_yaml
from fleetloop.cli.demo import figures
from fleetloop.cli.demo.crew import Crew, WorkerDied, gather
from fleetloop.cli.demo.curve import draw
from fleetloop.cli.demo.experience import ended, rolling
from fleetloop.cli.demo.figures import MEASURED
from fleetloop.cli.demo.journeys import Correction, corrections, publish_to_verified, spread_of
from fleetloop.cli.demo.moment import Moment
from fleetloop.cli.demo.pacer import CAP, LEAST, Pacer, Reading
from fleetloop.cli.demo.place import cleared
from fleetloop.cli.demo.plan import DemoPlan, evaluation_counts, fleet_config, free_port
from fleetloop.cli.demo.processes import FleetProcesses, ProcessDied
from fleetloop.cli.demo.summary import summary
from fleetloop.cli.demo.view import screen, sparkline, status_line
from fleetloop.cli.evaluation import Score, wilson
from fleetloop.core.errors import ConfigInvalid, DiskTrouble, UnknownName
from fleetloop.core.hub import Fleet, Member, Orders, Registration, RobotStatus
from fleetloop.core.release import Release
from fleetloop.sim.robot import sim_spec
from fleetloop.sim.tasks import SIM_TASKS, sim_task

TINY_DEMO = Path(__file__).parent / "tiny_demo.py"


def row(id: str, robot: str = "r1", *, release: int = 1, first: float = 0.0, last: float = 10.0, **more: Any) -> Any:
    """A catalog row of an online episode that the policy finished alone."""
    made = {
        "id": id,
        "robot": robot,
        "task": "box/walls",
        "seed": hash((id, robot)),
        "outcome": "success",
        "frames": 100,
        "frames_human": 0,
        "interventions": 0,
        "takeover_ends_s": [],
        "first_clock_s": first,
        "last_clock_s": last,
        "release_min": release,
        "release_max": release,
        "bytes": 1000,
    }
    return {**made, **more}


def release(version: int, *, covers: tuple[str, ...] = (), clock_s: float = 0.0) -> Release:
    return Release(
        "demo",
        25 * version,
        version - 1,
        0,
        {},
        {},
        "",
        "",
        "",
        (),
        "full",
        (),
        (),
        "",
        clock_s,
        version,
        covers=covers,
    )


def robot(name: str, episodes: int = 0, **more: Any) -> RobotStatus:
    return RobotStatus(name, "running", episodes=episodes, **more)


def score(successes: int, episodes: int = 40) -> Score:
    low, high = wilson(successes, episodes)
    return Score(episodes, successes, successes / episodes, low, high, 0.0, 0.0, 0.0)


def measured(before: int, after: int, control: int, expert: int) -> dict[str, dict[str, Score]]:
    counts = zip(MEASURED, (before, after, control, expert), strict=True)
    return {name: {"box/walls": score(count)} for name, count in counts}


# ---------------------------------------------------------------------- from a correction to the whole fleet


def corrected(id: str = "taught", **more: Any) -> Any:
    return row(id, last=12.0, takeover_ends_s=[8.0, 10.0], frames_human=40, interventions=2, **more)


def test_a_correction_has_arrived_when_the_last_robot_begins_an_episode_under_a_release_that_covers_it() -> None:
    rows = [
        corrected(),
        row("a", "r1", release=3, first=20.0),
        row("b", "r2", release=2, first=21.0),
        row("c", "r2", release=4, first=40.0),
        row("d", "r2", release=5, first=60.0),
    ]
    releases = [release(4, covers=("taught",)), release(3, covers=("taught",)), release(2)]
    assert corrections(rows, releases, ["r1", "r2"]) == [Correction(8.0, 12.0, 40.0), Correction(10.0, 12.0, 40.0)]


@pytest.mark.parametrize(
    ("rows", "covers"),
    [
        ([row("a", "r1", release=3, first=20.0)], ("taught",)),  # r2 never begins another episode
        ([row("a", "r1", release=3), row("b", "r2", release=0, first=30.0)], ("taught",)),  # a human drove all of b
        ([row("a", "r1", release=3), row("b", "r2", release=3)], ()),  # no release has drawn enough of it
    ],
)
def test_a_correction_that_has_not_reached_every_robot_is_pending(rows: list[Any], covers: tuple[str, ...]) -> None:
    found = corrections([corrected(), *rows], [release(3, covers=covers)], ["r1", "r2"])
    assert [item.reached_s for item in found] == [None, None]


def test_latencies_count_what_is_pending_apart() -> None:
    lived = figures.Lived(
        rows=[
            corrected(),
            corrected("late", seed=1),
            row("a", "r1", release=3, first=20.0),
            row("b", "r2", release=3, first=32.0),
        ],
        releases=[release(3, covers=("taught",), clock_s=15.0)],
        statuses=[robot("r1", 3), robot("r2", 1)],
        metrics=[{"kind": "first_draw", "episode": "taught", "episode_to_batch_s": 2.5}],
        installed=[{"version": 3, "clock_s": 16.0, "bytes": 7}],
        spooled=0,
        clock="scaled",
        began_s=0.0,
        time_scale={"mean": 8.0, "low": 7.0, "high": 9.0},
    )
    found = figures.fleet_figures(lived)["latency_s"]
    assert found["clock"] == "scaled"
    assert found["correction_to_fleet"] == {"p50": 23.0, "p99": pytest.approx(23.98), "n": 2, "pending": 2}
    assert found["correction_to_fleet_beyond_episode"] == {"p50": 20.0, "p99": 20.0, "n": 2}
    assert found["episode_to_batch"]["p50"] == 2.5
    assert found["publish_to_verified"]["p50"] == 1.0


def test_a_release_is_verified_once_although_a_rollback_installs_it_again() -> None:
    installed = [{"version": 1, "clock_s": 11.0}, {"version": 3, "clock_s": 33.0}, {"version": 1, "clock_s": 90.0}]
    releases = [release(1, clock_s=10.0), release(2, clock_s=20.0), release(3, clock_s=30.0)]
    assert publish_to_verified(releases, installed) == [1.0, 3.0]


def test_nothing_has_no_median() -> None:
    assert spread_of([]) == {"p50": None, "p99": None, "n": 0}


# ---------------------------------------------------------------------- the other figures


def test_the_gap_is_closed_by_the_share_of_the_way_to_the_expert() -> None:
    average = figures.average_figures(measured(10, 30, 12, 40))
    assert average == pytest.approx(
        {"before": 0.25, "after": 0.75, "control_after": 0.3, "expert": 1.0, "gap_closed": 2 / 3}
    )


def test_there_is_no_gap_where_the_expert_is_no_better() -> None:
    assert figures.gap_closed(0.5, 0.7, 0.5) is None


def test_tasks_are_reported_with_counts_and_intervals() -> None:
    counted = figures.task_figures(measured(10, 30, 12, 40))["box/walls"]
    assert set(counted) == set(MEASURED)
    assert counted["after"]["successes"] == 30
    assert counted["after"]["episodes"] == 40
    assert counted["after"]["low"] < 0.75 < counted["after"]["high"] < 1


def test_what_a_robot_finished_and_the_hub_does_not_have_is_lost() -> None:
    rows = [row("a", "r1"), row("b", "r1"), row("c", "r2")]
    assert figures.lost([robot("r1", 2), robot("r2", 1)], rows) == 0
    assert figures.lost([robot("r1", 2), robot("r2", 4), robot("r3", 1)], rows) == 4


def test_an_episode_under_two_ids_or_learnt_twice_is_a_duplicate() -> None:
    assert figures.duplicated([row("a", seed=1), row("b", seed=2)], []) == 0
    assert figures.duplicated([row("a", seed=1), row("b", seed=1)], []) == 1
    drawn = {"kind": "first_draw", "episode": "a"}
    assert figures.duplicated([row("a", seed=1)], [drawn, {"kind": "step"}, drawn]) == 1


def test_success_alone_rolls_over_the_last_episodes_that_ended_by_themselves() -> None:
    rows = [
        row("late", last=40.0),
        row("cut off", last=50.0, outcome="aborted"),
        row("helped", last=30.0, frames_human=5),
        row("failed", last=20.0, outcome="timeout"),
        row("other", last=10.0, task="laundry/fold"),
    ]
    mine = ended(rows, "box/walls")
    assert [item["id"] for item in mine] == ["failed", "helped", "late"]
    assert rolling(mine, window=2) == [0.0, 0.0, 0.5]


# ---------------------------------------------------------------------- the pace


READINGS = st.tuples(st.floats(0.1, 2), st.floats(0, 10), st.floats(0, 1))


@given(st.lists(READINGS, max_size=60), st.floats(1, 20))
def test_the_factor_stays_within_its_bounds(readings: list[tuple[float, float, float]], start: float) -> None:
    pacer, wall_s = Pacer(start, 0.0), 0.0
    for passed_s, lag_s, missed in readings:
        wall_s += passed_s
        assert LEAST <= pacer.advise(Reading(wall_s, lag_s, missed)) <= max(CAP, start)


@pytest.mark.parametrize(("lag_s", "missed"), [(1.5, 0.0), (0.0, 0.05)])
def test_the_pacer_slows_down_when_learner_or_robots_are_late_and_waits_for_the_effect(
    lag_s: float, missed: float
) -> None:
    pacer = Pacer(8.0, 0.0)
    assert pacer.advise(Reading(1.0, lag_s, missed)) == pytest.approx(7.2)
    assert pacer.advise(Reading(1.5, lag_s, missed)) == pytest.approx(7.2)
    assert pacer.advise(Reading(2.0, lag_s, missed)) == pytest.approx(6.48)


def test_the_pacer_slows_down_faster_when_most_is_missed() -> None:
    assert Pacer(8.0, 0.0).advise(Reading(1.0, 0.0, 0.5)) < 6.0


def test_the_pacer_speeds_up_only_after_some_seconds_of_ease() -> None:
    pacer = Pacer(8.0, 0.0)
    pacer.advise(Reading(1.0, 0.8, 0.0))  # not strained, and not easy either
    assert pacer.advise(Reading(4.5, 0.0, 0.0)) == 8.0
    assert pacer.advise(Reading(5.5, 0.0, 0.0)) > 8.0


# ---------------------------------------------------------------------- the plan


@pytest.mark.parametrize("real_time", [True, False])
@pytest.mark.parametrize("observe", ["state", "images"])
def test_the_configuration_that_a_demo_writes_reads_back_the_same(
    tmp_path: Path, real_time: bool, observe: str
) -> None:
    plan = DemoPlan(tmp_path, tuple(SIM_TASKS), robots=6, real_time=real_time, observe=observe)
    config = fleet_config(plan, 8787)
    (tmp_path / "fleet.yaml").write_text(to_yaml(config, docs=True))
    assert load_config(tmp_path / "fleet.yaml") == config
    assert (config.clock.file is None) == real_time
    assert [item.site for item in config.robots] == [1, 2, 3, 4, 1, 2]
    assert config.robots[1].tasks is not None
    assert config.robots[1].tasks[0] == plan.tasks[1]
    assert config.learner.optimizer.total_steps == 3000
    assert config.hub.attention.operators == 2


def test_every_simulated_task_has_a_number_of_demonstrations() -> None:
    assert set(SIM_TASKS) == set(DemoPlan(Path(), ()).demonstrations)


@pytest.mark.parametrize(("robots", "counts"), [(4, [11, 11, 10, 10]), (2, [21, 21]), (9, [11, 11, 10, 10])])
def test_the_evaluation_is_shared_out_over_the_sites_of_the_robots(robots: int, counts: list[int]) -> None:
    plan = DemoPlan(Path(), (), robots=robots, evaluation_episodes=42)
    assert list(evaluation_counts(plan).values()) == counts


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
    console = Console(width=120, file=io.StringIO(), record=True)
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
    fleet = Fleet(130.0, members, None, 0.0, 3, 5, 5)
    rows = [row("a", last=20.0), row("b", last=30.0, frames_human=50, interventions=1)]
    return Moment(("box/walls", "laundry/fold"), 120.0, 600.0, 7.5, fleet, rows)


def test_a_status_line_says_how_far_it_is_and_what_is_wrong() -> None:
    line = status_line(moment())
    for part in ("2.0 of 10 min", "box/walls 0.50", "laundry/fold –", "1 interventions", "7.5x", "ALARM r2: the disk"):
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

    def start(minutes: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(TINY_DEMO), str(tmp_path / "demo"), minutes]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


REPORT = {
    *("tasks", "average", "episodes", "frames", "interventions", "human_share", "autonomous_share", "releases"),
    *("learner_steps", "replay_ratio", "data_wait", "lost", "duplicated", "ticks_missed", "bytes_up", "bytes_down"),
    *("wall_s", "cpu_s", "time_scale", "latency_s", "seed", "options", "versions", "operator", "stages_wall_s"),
}


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
