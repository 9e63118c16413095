"""What `fleetloop status` says of the learner, and of what is wrong."""

from dataclasses import replace

from fleetloop.cli import tables
from fleetloop.cli.status import fleet_view
from fleetloop.core.hub import Fleet, LearnerStatus, Member, Orders, Registration, RobotStatus
from fleetloop.core.spec import FeatureSpec, RobotSpec

LEARNER = LearnerStatus("run", 3, 1, 5, parked=False, lag_s=0.0)


def shown(fleet: Fleet) -> str:
    console = tables.console(width=300)
    with console.capture() as capture:
        console.print(fleet_view(fleet))
    return capture.get()


def said(figures) -> str:
    learner = replace(LEARNER, figures=figures)
    return shown(Fleet(1.0, (), learner, 0.0, episodes=5, edge=1, stable=1))


def test_it_says_how_many_episodes_the_filters_leave_out_and_why():
    left_out = {"online": {"staleness": 12, "quality": 3}, "offline": {"site": 1}}
    assert "episodes left out: 3 online for quality, 12 online for staleness, 1 offline for site" in said(
        {"left_out": left_out}
    )


def test_it_says_nothing_of_filters_that_leave_nothing_out_or_of_a_learner_that_knows_none():
    assert "left out" not in said({"left_out": {"online": {}, "offline": {}}})
    assert "left out" not in said({})


def test_an_alarm_is_a_line_that_names_whose_it_is():
    spec = RobotSpec("point", (), FeatureSpec("target", (1,)), 20.0)
    robot = Registration("robot-7", "host", "site", ("far",), spec)
    status = RobotStatus("robot-7", "running", alarm="disk [spool] is full")
    fleet = Fleet(
        1.0,
        (Member(robot, status, 0.0, Orders("robot-7", 0.0, "")),),
        replace(LEARNER, alarm="no [new] experience"),
        0.0,
        episodes=5,
        edge=1,
        stable=1,
        alarm="3 episodes are [really] damaged",
    )
    lines = shown(fleet).splitlines()
    for line in (
        "hub: 3 episodes are [really] damaged",
        "robot-7: disk [spool] is full",
        "learner: no [new] experience",
    ):
        assert line in map(str.strip, lines)


def test_where_nothing_is_wrong_no_line_says_so():
    assert "hub:" not in said({})


def test_brackets_in_what_others_wrote_are_brackets():
    spec = RobotSpec("point", (), FeatureSpec("target", (1,)), 20.0)
    robot = Registration("[/r]", "host", "[red]site", ("[/x]",), spec)
    status = RobotStatus("[/r]", "[/odd]", task="[/x] :red_heart:")
    learner = replace(LEARNER, run="[/run]")
    text = shown(Fleet(1.0, (Member(robot, status, 0.0, Orders("[/r]")),), learner, 0.0, episodes=5, edge=1, stable=1))
    assert all(part in text for part in ("[/r]", "[red]site", "[/x] :red_heart:", "[/odd]", "[/run]"))


def test_a_table_prints_a_verdict_as_a_gate_wrote_it(capsys):
    rows = tables.table("release", "verdict")
    rows.add_row("2", "[/dev/video0] camera missing")
    tables.show(rows)
    assert "[/dev/video0] camera missing" in capsys.readouterr().out
