"""What a learner's terminal says."""

from fleetloop.core.errors import HubUnavailable
from fleetloop.learner.journal import EVERY_WALL_S, Journal


def test_a_hub_that_comes_and_goes_is_spoken_of_once_each_time():
    said: list[str] = []
    journal, error = Journal(said.append), HubUnavailable("hub", "does not answer")
    for _ in range(3):
        journal.hub_is_away(error)
    for _ in range(3):
        journal.hub_is_there()
    journal.hub_is_away(error)
    assert ["away" in line for line in said] == [True, False, True]


def test_checkpoints_that_take_a_tenth_of_the_time_are_spoken_of_once():
    said: list[str] = []
    journal = Journal(said.append)
    for took in (1.0, 2.9, 4.0, 5.0):
        journal.checkpointed(took, 30.0)
    assert len(said) == 1
    assert said[0].startswith("a checkpoint takes 4 s to write, and there is one every 30 s: raise learner.checkpoint")


def test_a_line_a_minute_says_how_far_it_is():
    said: list[str] = []
    journal = Journal(said.append)
    for second in range(round(2.5 * EVERY_WALL_S)):
        journal.progress(float(second), step=second, release=7, episodes=90, parked=second > EVERY_WALL_S + 1)
    assert said == [
        "step 60, release 7, 90 episodes held",
        "parked: nothing new to learn from, release 7, 90 episodes held",
    ]
