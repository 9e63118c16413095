"""What an actor's terminal says."""

import logging

from fleetloop.actor.journal import EVERY_WALL_S, Journal
from fleetloop.core.hub import RobotStatus


def test_it_says_what_it_waits_for_then_what_it_drives_with_then_a_line_a_minute(caplog):
    caplog.set_level(logging.INFO)
    journal = Journal()
    driving = RobotStatus("robot-1", "running", release=3, episodes=7, successes=2, interventions=4)
    for now in (0.0, 1.0):
        journal.note(RobotStatus("robot-1", "waiting"), now)
    for now in (2.0, 3.0, 2.0 + EVERY_WALL_S, 3.0 + EVERY_WALL_S):
        journal.note(driving, now)
    waits, drives, minute = (record.getMessage() for record in caplog.records)
    assert "waits for a first release" in waits
    assert drives.endswith("drives with release 3")
    assert "7 episodes, 2 successes, 4 takeovers, release 3" in minute
