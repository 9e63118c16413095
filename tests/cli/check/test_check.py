"""What `fleetloop check` finds: nothing in what comes with FleetLoop, and each broken rule by its name."""

from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from asked import at, problems, told_by
from broken import (
    Arm,
    Eye,
    KnowingArm,
    Point,
    Referee,
    ToldReferee,
    Unranked,
    Watcher,
)
from typer.testing import CliRunner

from fleetloop.actor.run import sole_driver
from fleetloop.cli.check import judge, operator, robot
from fleetloop.cli.check.findings import findings
from fleetloop.cli.main import app
from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk
from fleetloop.core.host import HostDirectory
from fleetloop.core.spec import FeatureSpec

OWN_TASK = ("--set", "own_tasks={a/b: {instruction: go, time_limit_s: 1}}", "--set", "tasks=[a/b]")


@pytest.mark.parametrize(
    ("kind", "name", "sets"),
    [
        ("algorithm", "bc", ()),
        ("algorithm", "bc", ("algorithm.options.successful_online=true",)),
        ("algorithm", "hg_dagger", ()),
        ("algorithm", "hg_dagger", ("algorithm.options.successful_autonomous=true",)),
        ("algorithm", "recap", ("algorithm.options.value_steps=20", "algorithm.options.refresh_steps=20")),
        ("policy", "flow", ("policy.options.width=16",)),
        ("robot", "sim", ("tasks=[box/walls]",)),
        ("operator", "scripted", ()),
        ("operator", "none", ()),
        ("judge", "simulator", ("tasks=[box/walls]",)),
    ],
)
def test_what_comes_with_fleetloop_keeps_its_contracts(tmp_path, monkeypatch, kind, name, sets):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["check", kind, name, *(item for pair in sets for item in ("--set", pair))])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("✓") > 3
    assert "✗" not in result.stdout


def test_what_is_wrong_is_said_in_a_line_and_by_the_exit_status(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["check", "policy", "flow", "--set", "policy.options.observe=images"])
    assert result.exit_code == 1
    assert result.stdout == (
        "✗ It can be imported and made from its options: cameras: the robot shows none; use `observe: state` or add a "
        "camera\n"
    )


def test_options_of_the_file_are_for_the_plug_in_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text("algorithm: {name: hg_dagger, options: {intervention_weight: 2}}\n")
    assert CliRunner().invoke(app, ["check", "algorithm", "bc"]).exit_code == 0
    refused = CliRunner().invoke(app, ["check", "algorithm", "hg_dagger", "--set", "algorithm.options.nothing=1"])
    assert "algorithm.options.nothing: is unknown" in refused.stdout


def test_a_robot_of_the_fleet_is_opened_under_its_own_options_and_not_beside_its_actor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(
        "tasks: [box/walls]\nrobots: [{name: arm-1, site: 1}, {name: arm-2, site: 2, options: {camera_px: none}}]\n"
    )

    def said(name):
        return CliRunner().invoke(app, ["check", "robot", "sim", "--robot", name])

    assert "robots.arm-2.options.camera_px" in said("arm-2").stdout
    assert "known: arm-1, arm-2" in said("arm-3").stderr
    with sole_driver(HostDirectory(tmp_path / "host", RealDisk()), "arm-1"):
        beside = said("arm-1")
    assert (beside.exit_code, beside.stdout) == (1, "")
    assert "another actor on this host drives it" in beside.stderr
    assert said("arm-1").exit_code == 0


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("unseeded", "repeats under the same seed.*the same seed gave another start"),
        ("silent", "A reset says.*it returned None"),
        ("blind", "What it observes.*state holds"),
        ("doubles", r"What it observes.*place is float64\[2\]; say place float32\[2\]"),
        ("shares", "never written to again: place changed"),
        ("scribbles", "`act` returns.*it wrote to the action"),
        ("unlimited", "far too large: 1000 was sent as 1e[+]03"),
        ("mute", "`act` returns.*it returned NoneType"),
        ("drifts", r"while nobody acts.*it sends \[1. 1.\] for it, not \[7. 7.\]"),
        ("lame", "`still` holds numbers that are not finite"),
        ("stumbles", r"`still` has the shape \[3\], not \[2\]"),
        ("remembers", "says nothing right after a reset.*forget the last episode"),
        ("expert", r"Its expert.*it says float64\[2\]"),
        ("says", "it says 'success'; say None, or one of core's Outcome"),
        ("counts", "A reset says.*it returned"),
        ("timeless", "`taken` is nan"),
        ("strays", "What it observes.*not finite, 31 ticks after a reset"),
        ("grows", r"What it observes.*place is float32\[3\], 31 ticks after a reset"),
    ],
)
def test_a_robot_that_breaks_a_rule(fault, told):
    wrong = problems(robot.CHECKS, at(Point(fault)))
    told_by(told, wrong)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("unseeded", "repeats under the same seed.*the same seed gave another start"),
        ("grows", r"What it observes.*wrist is uint8\[9, 12, 3\], 31 ticks after a reset"),
        ("says", "Its own rule.*it says 'won'"),
    ],
)
def test_a_robot_that_only_sees_is_looked_at_by_its_pictures(fault, told):
    assert not problems(robot.CHECKS, at(Eye()))
    told_by(told, problems(robot.CHECKS, at(Eye(fault))))


def test_a_robot_that_breaks_none():
    assert not problems(robot.CHECKS, at(Point()))


def test_a_start_that_never_differs_is_noted_and_not_wrong():
    assert [found.note for found in findings(robot.CHECKS, at(Point())) if found.note] == []
    (seeding,) = [found for found in findings(robot.CHECKS, at(Point("fixed"))) if found.problem or found.note]
    assert not seeding.problem
    assert "the seeds (1, 2, 3) all gave the same start" in seeding.note


def test_a_gymnasium_environment_in_which_nothing_can_succeed_is_told_of(tmp_path, monkeypatch, caplog):
    """FrozenLake starts in the same place each time, and never says of a step whether it went well."""
    monkeypatch.chdir(tmp_path)

    def said(more=""):
        caplog.clear()
        tasks = "tasks: {lake/cross: {env: FrozenLake-v1, instruction: cross, time_limit_s: 5}}"
        (tmp_path / "fleet.yaml").write_text(
            f"robot: {{name: gymnasium, options: {{{tasks}{more}}}}}\ntasks: [lake/cross]\n"
        )
        result = CliRunner().invoke(app, ["check", "robot", "gymnasium"])
        assert result.exit_code == 0, result.output
        assert "✗" not in result.stdout
        assert "; note: the seeds (1, 2, 3) all gave the same start" in result.stdout
        return caplog.text

    assert "robot.options.success_key: 'success' was not in `info` in a whole episode" in said()
    assert not said(", success_return: 1")


def test_no_words_of_an_error_are_left_out(tmp_path):
    def stub(subject):
        """It is written."""
        raise NotImplementedError

    (found,) = findings([stub], None)
    assert found.problem == "NotImplementedError"


def test_a_robot_without_tasks_hears_of_both_ways_to_have_some(installed):
    installed("arm", "[fleetloop.robots]\nstub = arm:Stub\n", "class Stub:\n    def __init__(self, *_, **__): pass\n")
    result = CliRunner().invoke(app, ["check", "robot", "stub"])
    assert "tasks: is empty; name some that the robot knows (`tasks` of its class), or describe some" in result.stdout


@pytest.mark.parametrize("kind", [Arm, KnowingArm])
def test_a_real_robot_is_left_where_it_stands_and_is_not_hurried(kind):
    arm = kind(Virtual())
    assert not problems(robot.CHECKS, at(arm))
    times, actions = zip(*arm.sent, strict=True)
    assert set(map(tuple, actions)) == {(0.75, -0.5)}
    timed = np.diff(times[-robot.TICKS :])
    assert np.allclose(timed, 0.1), "a tick apart"


def test_a_real_robot_that_does_not_measure_what_it_is_sent_moves_only_where_it_may():
    spec = replace(Arm.spec, action=FeatureSpec("speed", (2,), low=0.25, high=1))
    arm = Arm(Virtual(), spec)
    told_by("`act` returns.*nothing was sent: no state feature.*`--move` sends zeros", problems(robot.CHECKS, at(arm)))
    assert not arm.sent
    assert not problems(robot.CHECKS, at(arm, move=True))
    assert {tuple(action) for _, action in arm.sent} == {(0.25, 0.25)}, "zero, within its limits"


def test_an_operator_drives_a_real_robot_only_where_it_may():
    arm = Arm(Virtual())
    assert not problems(operator.CHECKS, operator.OperatorSubject(Watcher(), at(arm)))
    assert not arm.sent
    told_by("send float32", problems(operator.CHECKS, operator.OperatorSubject(Watcher("misfits"), at(arm, move=True))))
    assert not arm.sent, "what does not fit is not tried out on an arm"
    assert not problems(operator.CHECKS, operator.OperatorSubject(Watcher(), at(arm, move=True)))
    assert {tuple(action) for _, action in arm.sent} == {(0.0, 0.0)}


@pytest.mark.parametrize(
    ("says", "clock"), [("    def outcome(self): ...\n", "wall"), ("    simulated = True\n", "virtual")]
)
def test_time_is_real_unless_the_robot_is_simulated(installed, says, clock):
    """Or a reset would be over before the arm is home."""
    source = "class Timed:\n    def __init__(self, options, *, clock, site):\n        raise ValueError(clock.name)\n"
    installed("timed", "[fleetloop.robots]\ntimed = timed:Timed\n", source + says)
    assert f"ValueError: {clock}" in CliRunner().invoke(app, ["check", "robot", "timed", *OWN_TASK]).stdout


TAKEN = """
from pathlib import Path
from broken import Point

def given_back(what):
    with Path("given_back").open("a") as file:
        print(what, file=file)

class Body(Point):
    def __init__(self, options, *, clock, site):
        super().__init__()

    def close(self):
        given_back("robot")

class Leader:
    name, wants_attention = "leader", False

    def __init__(self, options, robot):
        if Path("in_use").exists():
            raise OSError("/dev/leader is in use")

    def start(self, instruction): ...

    def watch(self, view): ...

    def close(self):
        given_back("operator")
"""


@pytest.mark.parametrize(("in_use", "given_back"), [(False, "operator\nrobot\n"), (True, "robot\n")])
def test_what_a_checked_operator_and_its_robot_have_taken_is_given_back(installed, tmp_path, in_use, given_back):
    installed("taken", "[fleetloop.robots]\nbody = taken:Body\n[fleetloop.operators]\nleader = taken:Leader\n", TAKEN)
    if in_use:
        (tmp_path / "in_use").touch()
    said = CliRunner().invoke(app, ["check", "operator", "leader", "--set", "robot.name=body", *OWN_TASK])
    assert ("/dev/leader is in use" in said.stdout) is in_use
    assert (tmp_path / "given_back").read_text() == given_back


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("speaks", "it said 'take over'; say one of the four"),
        ("scribbles", r"it wrote to what was observed: \['place'\]; work on a copy"),
        ("marks", "it said Mark.*mark with one of core's Outcome"),
        ("forces", "Without attention.*at tick 0 it said Drive"),
        ("misfits", r"it drives with float32\[3\]; send float32\[2\]"),
        ("greedy", "it still wants attention after `start`"),
    ],
)
def test_an_operator_that_breaks_a_rule(fault, told):
    wrong = problems(operator.CHECKS, operator.OperatorSubject(Watcher(fault), at(Point())))
    told_by(told, wrong)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (Referee("scribbles"), r"it wrote to what was observed: \['place'\]"),
        (Referee("hasty"), "before anything was done"),
        (Referee("fickle"), "before anything was done"),
        (Referee("remembers"), "it says <Outcome.SUCCESS.*before anything was done; .*`start"),
        (Referee("blind"), "An expert's attempt.*it said timeout, timeout, timeout"),
        (Unranked(), "in what capacity.*`rank` is 'referee'"),
    ],
)
def test_a_judge_that_breaks_a_rule(made, told):
    wrong = problems(judge.CHECKS, judge.JudgeSubject(made, at(Point())))
    told_by(told, wrong)


def test_operators_and_judges_that_break_none():
    assert not problems(operator.CHECKS, operator.OperatorSubject(Watcher(), at(Point())))
    assert not problems(judge.CHECKS, judge.JudgeSubject(Referee(), at(Point())))
    assert not problems(judge.CHECKS, judge.JudgeSubject(ToldReferee(), at(Point())))


def test_a_judge_that_is_slower_than_half_a_tick(monkeypatch):
    monkeypatch.setattr(judge, "time", SimpleNamespace(perf_counter=count(step=0.06).__next__))
    told_by("It never blocks.*it takes 60.0 ms", problems(judge.CHECKS, judge.JudgeSubject(Referee(), at(Point()))))


def test_what_can_not_be_closed_is_a_finding(installed):
    source = "from broken import Point\n\nclass Body(Point):\n    def __init__(self, options, *, clock, site):\n"
    source += "        super().__init__()\n\n    def close(self):\n        raise ValueError('stuck')\n"
    installed("stuck", "[fleetloop.robots]\nbody = stuck:Body\n", source)
    said = CliRunner().invoke(app, ["check", "robot", "body", *OWN_TASK])
    assert "✗ What was opened for it can be closed: ValueError: stuck" in said.stdout
