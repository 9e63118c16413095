"""What a person reads in an actor's terminal: what it waits for, and, once a minute, how it gets on."""

import logging

from fleetloop.core.hub import RobotStatus

log = logging.getLogger(__name__)

EVERY_WALL_S = 60.0


class Journal:
    """Told how the robot is every now and then; says what has changed."""

    def __init__(self) -> None:
        self._release: int | None = None
        self._due = 0.0

    def note(self, status: RobotStatus, wall_s: float) -> None:
        """`wall_s`: real seconds on any steady clock."""
        if self._release is None and not status.release:
            log.info("%s waits for a first release, which a courier brings", status.robot)
            self._release = 0
        if not status.release:
            return
        if not self._release:
            log.info("%s drives with release %d", status.robot, status.release)
            self._due = wall_s + EVERY_WALL_S
        elif wall_s >= self._due:
            self._due = wall_s + EVERY_WALL_S
            log.info(
                "%s: %d episodes, %d successes, %d takeovers, release %d",
                status.robot,
                status.episodes,
                status.successes,
                status.interventions,
                status.release,
            )
        self._release = status.release
