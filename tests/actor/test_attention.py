"""Who is obeyed at a robot when the hub has gone silent; with real mail, under virtual time."""

import numpy as np
import pytest
from slider import TASK
from stage import Script, Stage

from fleetloop.actor.options import ActorOptions
from fleetloop.core.frame import Source
from fleetloop.core.hub import Orders
from fleetloop.core.operator import Drive
from fleetloop.core.task import Task

LONG = Task(TASK.id, TASK.instruction, time_limit_s=1e6)
DRIVES = Drive(np.array([1, 7], np.float32))


class Room(Stage):
    """An actor whose clerk looks for the hub, as a real one's does, and whose operator drives if `wants`."""

    def __init__(self, root, **options) -> None:
        self.person = Script(lambda tick: DRIVES if self.person.wants_attention else None)
        super().__init__(root, operator=self.person, options=ActorOptions(**options), tasks=(LONG,))
        self.person.wants_attention = False
        self.install(1)
        self.until(lambda: self.status.phase == "running")

    def step(self) -> None:
        super().step()
        self.actor.look_for_the_hub(self.clock.now())

    def go_on(self, seconds: float, **orders) -> None:
        """With the hub's answer at every step if there are `orders`."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            if orders:
                self.host.post_orders(Orders("robot-1", **orders))
            self.step()

    @property
    def driven(self) -> int:
        return self.status.frames_human


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


def test_while_the_hub_answers_only_the_hub_gives_attention(room):
    room.person.wants_attention = True
    room.go_on(20.0, attention_until=0.0)
    assert not room.driven
    assert not room.status.alarm


def test_whoever_is_at_the_robot_may_drive_it_while_the_hub_is_away_and_no_longer(room):
    room.go_on(1.0, beat_s=0.25)
    room.person.wants_attention = True
    room.go_on(2.5)
    assert not room.driven, "the hub may only be slow"
    room.go_on(1.0)
    assert room.driven
    assert "hub: no orders come" in room.status.alarm
    assert "may take it over" in room.status.alarm
    before = room.driven
    room.go_on(5.0, attention_until=0.0)
    assert room.driven > before + 50, "who has the arm in hand is not cut off by a hub that comes back"
    assert not room.status.alarm
    room.person.wants_attention = False
    room.go_on(0.5, attention_until=0.0)
    room.person.wants_attention = True
    before = room.driven
    room.go_on(5.0, attention_until=0.0)
    assert room.driven == before, "the pool of operators is the hub's again"


def test_who_drives_when_the_hub_goes_drives_on(room):
    room.person.wants_attention = True
    room.go_on(1.0, attention_until=room.clock.now() + 10.0)
    sources = []
    room.recorder.add = lambda frame: sources.append(frame.source) or True
    room.go_on(20.0)
    assert set(sources) == {Source.HUMAN}


def test_a_hub_that_asks_for_few_beats_is_not_away(room):
    room.go_on(0.1, beat_s=30.0)
    room.go_on(25.0)
    assert not room.status.alarm
    room.person.wants_attention = True  # the courier asks at once
    room.go_on(4.0)
    assert room.driven


def test_it_can_be_switched_off_and_the_alarm_says_so(tmp_path):
    room = Room(tmp_path, local_takeover=False)
    room.person.wants_attention = True
    room.go_on(20.0)
    assert not room.driven
    assert "can't take it over" in room.status.alarm
