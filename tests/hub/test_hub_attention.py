"""Attention is scarce: never more robots than the operators can watch, never two attendants for one robot."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fleetloop.core.hub import RobotStatus
from fleetloop.hub.attention import Attention
from fleetloop.hub.options import AttentionOptions

ROBOTS = [f"robot-{number}" for number in range(8)]
beats = st.tuples(st.sampled_from(ROBOTS), st.booleans(), st.sampled_from(["day", "night"]))
steps = st.lists(st.tuples(st.lists(beats, max_size=4), st.floats(0, 6), st.booleans()), max_size=30)


def told(robot: str, wanted: bool, pool: str) -> RobotStatus:
    return RobotStatus(robot, "running", wants_attention=wanted, operator=pool)


@given(st.integers(0, 2), st.integers(1, 3), steps)
def test_what_robots_believe_never_exceeds_what_operators_can_do(
    operators: int, each: int, steps: list[tuple[list[tuple[str, bool, str]], float, bool]]
) -> None:
    """Also across restarts of the hub, at any moment: a robot counts on its lease until the second it was told."""
    options = AttentionOptions(operators=operators, robots_per_operator=each, lease_s=10)
    attention, now = Attention(options, [], 0.0), 0.0
    believed: dict[str, tuple[str, float]] = {}
    for said, pause, restart in steps:
        if restart:
            attention = Attention(options, attention.grants(), now)
        for robot, wanted, pool in said:
            attention.tell(told(robot, wanted, pool), now)
            believed.pop(robot, None)  # it hears the answer before it acts again
        attention.settle(now)
        for robot, _, _ in said:
            orders = attention.orders(robot)
            if orders.attendant:
                believed[robot] = (orders.attendant, orders.attention_until)
        load = Counter(attendant for attendant, until in believed.values() if until > now)
        assert all(count <= each for count in load.values())
        assert sum(count for name, count in load.items() if name.startswith("day")) <= operators * each
        now += pause


def test_who_waited_longest_comes_first() -> None:
    attention = Attention(AttentionOptions(operators=1, robots_per_operator=1, lease_s=10), [], 0)
    for now, robot in enumerate(["robot-3", "robot-1", "robot-2"]):
        attention.tell(told(robot, True, "day"), now)
        attention.settle(now)
    attention.tell(told("robot-3", False, "day"), 4)
    attention.settle(4)
    assert [attention.orders(robot).attendant for robot in ("robot-1", "robot-2", "robot-3")] == ["day-1", "", ""]


def test_robots_are_spread_over_the_operators() -> None:
    attention = Attention(AttentionOptions(operators=2, robots_per_operator=2, lease_s=10), [], 0)
    for robot in ROBOTS[:4]:
        attention.tell(told(robot, True, "day"), 0)
    attention.settle(0)
    assert [attention.orders(robot).attendant for robot in ROBOTS[:4]] == ["day-1", "day-2", "day-1", "day-2"]


def test_a_renewed_lease_keeps_its_attendant() -> None:
    attention = Attention(AttentionOptions(operators=3, robots_per_operator=1, lease_s=10), [], 0)
    seen = set()
    for now in range(0, 50, 5):
        attention.tell(told("robot-1", True, "day"), now)
        attention.settle(now)
        seen.add(attention.orders("robot-1").attendant)
    assert seen == {"day-1"}
