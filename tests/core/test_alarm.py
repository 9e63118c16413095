"""Alarms can be told to anybody, whatever a driver has said."""

from hypothesis import given
from hypothesis import strategies as st

from fleetloop.core.alarm import Alarms
from fleetloop.core.text import torn

ANY = st.text(st.characters(exclude_categories=())).map(lambda text: text + "\0\udc80")


@given(ANY)
def test_whatever_was_said_an_alarm_can_be_told_to_the_hub(said: str) -> None:
    alarms = Alarms()
    alarms.set("robot", said)
    assert torn(alarms.text, "alarm") == ""


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_what_can_be_told_is_told_as_it_is(said: str) -> None:
    alarms = Alarms()
    alarms.set("robot", said)
    assert alarms.text == f"robot: {said}"
