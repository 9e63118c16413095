"""The event queue: in order of time, then in order of asking."""

from hypothesis import given
from hypothesis import strategies as st

from fleetloop.lab.agenda import Agenda


@given(st.lists(st.integers(0, 5), max_size=30))
def test_calls_come_by_time_and_then_by_turn(dues):
    agenda, made = Agenda(), []
    for number, due in enumerate(dues):
        agenda.at(float(due), lambda now, number=number: made.append((now, number)))
    agenda.run(6.0)
    assert made == sorted((float(due), number) for number, due in enumerate(dues))
    assert agenda.clock.now() == 6.0


def test_what_is_due_at_the_end_waits_for_the_next_run():
    agenda, made = Agenda(), []
    agenda.every(1.0, made.append, 1.0)
    agenda.run(3.0)
    assert made == [1.0, 2.0]
    agenda.run(4.5)
    assert made == [1.0, 2.0, 3.0, 4.0]


def test_what_is_late_is_called_now():
    agenda, made = Agenda(), []
    agenda.run(5.0)
    agenda.at(2.0, made.append)
    agenda.run(6.0)
    assert made == [5.0], "time never goes back"
