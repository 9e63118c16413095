"""What `fleetloop status` says of the learner."""

from rich.console import Console

from fleetloop.cli.status import fleet_view
from fleetloop.core.hub import Fleet, LearnerStatus


def said(figures) -> str:
    learner = LearnerStatus("run", 3, 1, 5, parked=False, lag_s=0.0, figures=figures)
    console = Console(width=300)
    with console.capture() as capture:
        console.print(fleet_view(Fleet(1.0, (), learner, 0.0, episodes=5, edge=1, stable=1)))
    return capture.get()


def test_it_says_how_many_episodes_the_filters_leave_out_and_why():
    left_out = {"online": {"staleness": 12, "quality": 3}, "offline": {"site": 1}}
    assert "episodes left out: 3 online for quality, 12 online for staleness, 1 offline for site" in said(
        {"left_out": left_out}
    )


def test_it_says_nothing_of_filters_that_leave_nothing_out_or_of_a_learner_that_knows_none():
    assert "left out" not in said({"left_out": {"online": {}, "offline": {}}})
    assert "left out" not in said({})
