"""A person at a real (pseudo-)terminal: what the keys mean, what the robot is sent, how the terminal is left."""

import os
import pty
import select
import termios
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminal_reading import PATIENCE_S, read_all

from fleetloop.core.errors import SpecMismatch, SystemMissing
from fleetloop.core.frame import Observation
from fleetloop.core.operator import Drive, HandBack, Mark, View
from fleetloop.core.outcome import Outcome
from fleetloop.core.spec import FeatureSpec, RobotSpec
from fleetloop.operators.keyboard import KeyboardOperator, KeyboardOptions
from fleetloop.operators.keys import KEYS, decode
from fleetloop.operators.marks import MarksOperator
from fleetloop.operators.terminal import Terminal

HANDS = FeatureSpec("hands", (2, 7), fields=("opening", "x", "y", "z", "sin_yaw", "cos_yaw", "grip"))
ROBOT = RobotSpec("grippers", (HANDS,), FeatureSpec("action", (10,)), 20.0)
MEASURED = np.array([[0.1, 0.2, 0.3, 0.5, -1], [-0.1, 0.0, 0.4, -0.2, 1]], np.float32)
ARROWS = {"up": b"\x1b[A", "down": b"\x1b[B", "right": b"\x1bOC", "left": b"\x1bOD"}
BYTES = {"space": b" ", "tab": b"\t", **ARROWS}


def view(
    *, attention: bool = True, driving: bool = False, measured: np.ndarray = MEASURED, elapsed: float = 0.1
) -> View:
    x, y, z, yaw, grip = measured.T
    hands = np.stack([np.full(2, 0.05), x, y, z, np.sin(yaw), np.cos(yaw), grip], 1).astype(np.float32)
    return View(7, Observation({"hands": hands}, 0.0), None, attention, driving, elapsed)


class Person:
    """Somebody at a terminal of their own. `far` is where they type and read."""

    def __init__(self) -> None:
        self.far, self.near = pty.openpty()
        self.terminal = Terminal(os.ttyname(self.near))
        self.operator = KeyboardOperator(KeyboardOptions(), SimpleNamespace(spec=ROBOT), self.terminal)

    def type(self, *keys: str) -> None:
        """The terminal hands them over in its own time: wait until they can be read."""
        os.write(self.far, b"".join(BYTES.get(key, key.encode()) for key in keys))
        assert select.select([self.near], [], [], PATIENCE_S)[0]

    def driving(self, *keys: str, measured: np.ndarray = MEASURED) -> np.ndarray:
        """The set-points, (2, 5), after these keys at the wheel."""
        self.type("t")
        assert isinstance(self.operator.watch(view(measured=measured)), Drive)
        if keys:
            self.type(*keys)
        said = self.operator.watch(view(driving=True, measured=measured))
        assert isinstance(said, Drive)
        assert said.action.dtype == np.float32
        return said.action.reshape(2, 5)

    def sees(self) -> str:
        return read_all(self.far).decode()


@pytest.fixture
def person() -> Iterator[Person]:
    person = Person()
    yield person
    person.operator.close()
    for file in (person.far, person.near):
        os.close(file)


# ---------------------------------------------------------------------- keys


@given(
    typed=st.lists(st.sampled_from([*b"wasd rfqe\ttbynX?", *b"\x1b[OA1;~"])).map(bytes),
    cuts=st.sets(st.integers(0, 40)),
)
def test_keys_are_the_same_however_they_arrive(typed, cuts):
    whole, _ = decode(typed)
    names, unfinished, edges = [], b"", sorted({0, len(typed), *(cut for cut in cuts if cut < len(typed))})
    for start, stop in pairwise(edges):
        more, unfinished = decode(unfinished + typed[start:stop])
        names += more
    assert names == whole


def test_every_key_of_the_table_can_be_typed():
    typed = b"".join(BYTES.get(key, key.encode()) for key in KEYS)
    assert decode(typed) == (list(KEYS), b"")


def test_capitals_count_and_strange_keys_do_not():
    assert decode(b"W\x1b[3~5\x1b[15;2R\xc3\xa9\x00\x1bd") == (["w", "d"], b"")


# ---------------------------------------------------------------------- driving

STEPS = {
    "d": (0, 0.01), "a": (0, -0.01), "w": (1, 0.01), "s": (1, -0.01), "r": (2, 0.01), "f": (2, -0.01),
    "q": (3, 0.1), "e": (3, -0.1), "right": (0, 0.01), "left": (0, -0.01), "up": (1, 0.01), "down": (1, -0.01),
    "space": (4, 2.0),
}  # fmt: skip


@pytest.mark.parametrize("key", STEPS)
def test_a_key_moves_one_gripper_along_one_axis(person, key):
    axis, step = STEPS[key]
    wanted = MEASURED.copy()
    wanted[0, axis] += step
    assert person.driving(key) == pytest.approx(wanted, abs=1e-6)


def test_tab_turns_to_the_other_gripper_and_back(person):
    wanted = MEASURED.copy()
    wanted[1] += [0, 0, 0.02, 0, -2]
    wanted[0, 0] -= 0.01
    assert person.driving("tab", "r", "r", "space", "tab", "a") == pytest.approx(wanted, abs=1e-6)


def test_a_takeover_leaves_the_grippers_as_they_are(person):
    assert person.driving() == pytest.approx(MEASURED, abs=1e-6)


def test_a_set_point_stays_while_the_gripper_follows_or_sags(person):
    first = person.driving("d", "w")
    sagged = MEASURED - np.array([0.02, 0, 0.01, 0, 0], np.float32)
    assert person.operator.watch(view(driving=True, measured=sagged)).action.reshape(2, 5) == pytest.approx(first)


def test_a_blocked_gripper_is_not_pushed_ever_harder(person):
    keys = ["d"] * 50 + ["q"] * 50
    wanted = MEASURED.copy()
    wanted[0] += [0.05, 0, 0, 0.3, 0]
    assert person.driving(*keys) == pytest.approx(wanted, abs=1e-6)
    person.type("a")
    answer = person.operator.watch(view(driving=True)).action
    assert answer[0] == pytest.approx(MEASURED[0, 0] + 0.04)


def test_a_gripper_turns_across_half_a_turn(person):
    turned = MEASURED.copy()
    turned[0, 3] = np.pi - 0.05
    yaw = person.driving("q", measured=turned)[0, 3]
    assert yaw == pytest.approx(np.pi + 0.05, abs=1e-5)
    turned[0, 3] = -np.pi + 0.03
    assert person.operator.watch(view(driving=True, measured=turned)).action[3] == pytest.approx(
        -np.pi + 0.05, abs=1e-5
    )


def test_nothing_is_said_before_a_takeover(person):
    person.type("d", "w", "space", "b")
    assert person.operator.watch(view()) is None
    assert not person.operator.wants_attention
    assert person.driving() == pytest.approx(MEASURED, abs=1e-6)


def test_without_attention_the_person_waits(person):
    person.type("t")
    assert person.operator.watch(view(attention=False)) is None
    assert person.operator.wants_attention
    person.type("d", "d")
    assert person.operator.watch(view(attention=False)) is None
    assert person.operator.watch(view()).action == pytest.approx(MEASURED.flatten(), abs=1e-6)


def test_after_lost_attention_driving_goes_on_from_where_the_robot_is(person):
    person.driving("d", "d")
    assert person.operator.watch(view(attention=False, driving=True)) is None
    moved = MEASURED + np.array([0, 0.2, 0, 0, 0], np.float32)
    assert person.operator.watch(view(attention=False, measured=moved)) is None
    assert person.operator.watch(view(measured=moved)).action == pytest.approx(moved.flatten(), abs=1e-6)


def test_b_hands_back(person):
    person.driving("d")
    person.type("b")
    assert person.operator.watch(view(driving=True)) == HandBack()
    assert not person.operator.wants_attention
    assert person.operator.watch(view()) is None


@pytest.mark.parametrize(("key", "outcome"), [("y", Outcome.SUCCESS), ("n", Outcome.FAILURE)])
def test_y_and_n_end_the_episode_with_attention_or_without(person, key, outcome):
    person.type(key)
    assert person.operator.watch(view(attention=False)) == Mark(outcome)
    assert not person.operator.wants_attention


def test_what_was_typed_for_the_last_episode_does_not_end_the_next(person):
    person.driving("tab")
    person.type("y", "y")
    person.operator.start("the next")
    assert not person.operator.wants_attention
    assert person.operator.watch(view()) is None


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (replace(ROBOT, state=()), "the robot offers none"),
        (
            replace(ROBOT, state=(replace(HANDS, shape=(2, 3), fields=("x", "y", "z")),)),
            "sin_yaw.*the robot offers x, y, z",
        ),
        (replace(ROBOT, action=FeatureSpec("joints", (7,))), r"joints: the keyboard sends \[10\].*takes \[7\]"),
    ],
)
def test_another_kind_of_robot_is_refused(person, spec, says):
    with pytest.raises(SpecMismatch, match=says):
        KeyboardOperator(KeyboardOptions(), SimpleNamespace(spec=spec), person.terminal)


def test_a_robot_that_no_key_drives_can_be_marked_all_the_same(person):
    with pytest.raises(SpecMismatch, match="the operator `marks` ends its episodes"):
        KeyboardOperator(KeyboardOptions(), SimpleNamespace(spec=replace(ROBOT, state=())), person.terminal)
    marks = MarksOperator(None, SimpleNamespace(spec=None), person.terminal)
    marks.start("pick the cube")
    assert marks.watch(view(attention=False)) is None
    person.type("t", "x", "n")
    assert marks.watch(view(attention=False)) == Mark(Outcome.FAILURE)
    assert not marks.wants_attention
    person.type("y")
    marks.start("the next")
    assert marks.watch(view(attention=False)) is None
    seen = person.sees()
    assert "y success · n failure" in seen
    assert "pick the cube" in seen


# ---------------------------------------------------------------------- the terminal


def test_the_screen_says_who_drives_and_which_keys_there_are(person):
    person.operator.start("fold the towel")
    person.operator.watch(view(elapsed=0.42))
    seen = person.sees()
    assert "t take over" in seen
    assert "42% · the policy drives; t takes over · fold the towel" in seen
    person.type("t", "tab")
    person.operator.watch(view(attention=False))
    assert "waits for attention" in person.sees()
    person.operator.watch(view())
    assert "you drive gripper 2, closed" in person.sees()


def test_a_line_is_cut_to_the_window(person):
    termios.tcsetwinsize(person.near, (24, 30))
    person.operator.start("a very long instruction indeed")
    person.operator.watch(view())
    last = person.sees().split("\r\x1b[K")[-1]
    assert len(last) == 29


def test_a_terminal_that_is_gone_is_told_by_what_is_read_from_it():
    far, near = pty.openpty()
    with Terminal(os.ttyname(near)) as terminal:
        os.close(near)
        os.close(far)
        terminal.show("nobody sees this")
        with pytest.raises(SystemMissing):
            terminal.read()


def test_a_screen_that_nobody_reads_holds_nothing_up(person):
    for index in range(2_000):
        person.operator.watch(view(elapsed=index / 100))
