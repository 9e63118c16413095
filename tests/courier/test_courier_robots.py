"""Robots announced: registered, beaten for, and given their orders."""

from spooled import ROBOT

from fleetloop.core.errors import HubRefused, SpecMismatch
from fleetloop.core.hub import Orders, Registration, RobotStatus
from fleetloop.weights.signature import Trust


def join(courier, robot="robot-1", **status):
    courier.host.post_registration(Registration(robot, "host", "site-1", ("slide/far",), ROBOT))
    courier.host.post_status(RobotStatus(robot, "running", **status))


def test_robots_are_registered_and_beaten_for_and_get_their_orders(courier):
    join(courier, frames=7)
    join(courier, "robot-2")
    courier.herald.step()
    assert set(courier.hub.registered) == {"robot-1", "robot-2"}
    assert [status.robot for status in courier.hub.beaten[-1]] == ["robot-1", "robot-2"]
    assert courier.hub.beaten[-1][0].frames == 7
    assert courier.host.orders("robot-1").attention_until == 42.0


def test_attention_ends_by_the_clock_of_the_robots_own_machine(courier):
    """Each machine's clock counts from its own start: what the hub says is worth only what is left of it."""
    courier.clock.sleep_until(7.0)
    courier.hub.clock_s = 32.0
    join(courier)
    courier.herald.step()
    orders = courier.host.orders("robot-1")
    assert (orders.clock_s, orders.attention_until) == (7.0, 17.0)


def test_torn_mail_is_no_mail(courier):
    """A power cut may leave a name without its bytes; nobody else would ever write that file again."""
    join(courier)
    join(courier, "robot-2")
    courier.herald.step()
    for name in ("robot-1.orders.json", "robot-1.status.json", "robot-1.registration.json"):
        (courier.host.mail / name).write_bytes(b"")
    (courier.host.mail / "robot-2.orders.json").write_text('{"robot": "robot-2", "of_another_version": 1}')
    assert courier.host.orders("robot-1") == Orders("robot-1")
    assert courier.host.pinned() == set()
    courier.herald.step()
    assert [status.robot for status in courier.hub.beaten[-1]] == ["robot-2"]
    join(courier)
    courier.herald.step()
    assert courier.host.orders("robot-1").attendant == "pool/1"


def test_a_robot_whose_registration_is_refused_stays_with_the_release_that_it_was_told(courier):
    join(courier)
    courier.host.post_orders(Orders("robot-1", attention_until=9.0, attendant="pool/1", release=4))
    courier.hub.misfit = SpecMismatch("count", "the policy needs float32[2]; the robot offers float32[1]")
    courier.herald.step()
    orders = courier.host.orders("robot-1")
    assert (orders.release, orders.attention_until, orders.attendant) == (4, 0.0, "")
    assert "offers float32[1]" in orders.alarm


def test_a_robot_that_is_gone_does_not_make_the_others_beat_without_end(courier):
    join(courier, wants_attention=True)
    join(courier, "robot-2")
    for _ in range(8):
        courier.host.post_status(RobotStatus("robot-2", "running"))
        courier.herald.step()
    assert [status.robot for status in courier.hub.beaten[-1]] == ["robot-2"]
    courier.herald._pause_s, beats = 60.0, len(courier.hub.beaten)
    for count in range(5):
        courier.host.post_status(RobotStatus("robot-2", "running", frames=count))
        courier.herald.step()
    assert len(courier.hub.beaten) == beats


def test_a_hub_that_lost_its_memory_gets_the_robots_again(courier):
    join(courier)
    courier.herald.step()
    courier.hub.registered.clear()
    courier.herald.step()
    courier.herald.step()
    assert set(courier.hub.registered) == {"robot-1"}


def test_a_robot_that_comes_back_different_is_registered_anew(courier):
    join(courier)
    courier.herald.step()
    courier.host.post_registration(Registration("robot-1", "host", "site-9", ("slide/far",), ROBOT))
    courier.herald.step()
    assert courier.hub.registered["robot-1"].site == "site-9"


def test_a_robot_that_does_not_fit_is_told_why_and_the_others_go_on(courier):
    courier.hub.misfit = SpecMismatch("count", "the policy needs float32[2]; the robot offers float32[1]")
    join(courier)
    courier.herald.step()
    assert "the robot offers float32[1]" in courier.host.orders("robot-1").alarm
    assert courier.hub.beaten == []
    courier.hub.misfit = None
    courier.herald.step()
    assert courier.host.orders("robot-1").alarm == ""


def test_nobody_speaks_for_an_actor_that_died(courier):
    join(courier)
    join(courier, "robot-2")
    for count in range(10):
        courier.host.post_status(RobotStatus("robot-2", "running", frames=count))
        courier.herald.step()
    assert [status.robot for status in courier.hub.beaten[-1]] == ["robot-2"]
    courier.host.post_status(RobotStatus("robot-1", "running"))
    courier.herald.step()
    assert len(courier.hub.beaten[-1]) == 2


def test_the_couriers_alarms_reach_the_hub_with_the_robots_beat(courier):
    join(courier, alarm="reset: failed")
    courier.alarms.set("spool", "something was refused")
    courier.herald.step()
    assert courier.hub.beaten[-1][0].alarm == "reset: failed; spool: something was refused"


def test_with_the_hub_away_the_herald_tries_again(courier):
    join(courier)
    courier.hub.away = True
    assert courier.herald.step() > 0
    courier.hub.away = False
    courier.herald.step()
    assert len(courier.hub.beaten) == 1


def test_each_beat_says_from_which_host_it_comes(courier):
    join(courier)
    courier.herald.step()
    assert courier.hub.beaten[-1][0].host == "host"


def test_a_robot_whose_name_was_given_away_is_told_and_not_spoken_for(courier):
    join(courier)
    courier.herald.step()
    courier.hub.registered.clear()
    courier.hub.misfit = HubRefused("robot", "'robot-1' is there on host 'host-2'", status=409)
    courier.herald.speak()
    courier.herald.speak()
    assert "host-2" in courier.host.orders("robot-1").alarm
    assert len(courier.hub.beaten) == 1


def test_for_the_hub_of_a_large_fleet_it_beats_less_often_but_never_lets_attention_wait(courier):
    courier.hub.beat_s = 5.0
    join(courier)

    def beats(steps, **status):
        before = len(courier.hub.beaten)
        for _ in range(steps):
            courier.host.post_status(RobotStatus("robot-1", "running", **status))
            courier.herald.step()
        return len(courier.hub.beaten) - before

    assert beats(1) == 1
    assert beats(19) == 0  # a step is a quarter of a second
    assert beats(1) == 1
    assert beats(8, wants_attention=True) == 8
    assert beats(1) == 1
    assert beats(19) == 0


def test_a_dead_actor_of_a_large_fleet_is_spoken_for_no_longer_than_the_next_beat(courier):
    courier.hub.beat_s = 5.0
    join(courier)
    for _ in range(100):
        courier.herald.step()
    assert len(courier.hub.beaten) == 1


def test_a_courier_that_ends_says_so_without_waiting_for_its_turn(courier):
    join(courier)
    courier.herald.step()
    courier.host.post_status(RobotStatus("robot-1", "stopped"))
    courier.herald.speak()
    assert courier.hub.beaten[-1][0].phase == "stopped"


def test_what_the_courier_refuses_in_a_robots_place_reaches_the_hub(courier, tmp_path):
    """Not what it could not get for now."""
    join(courier)
    join(courier, "robot-2")
    courier.hub.publish(1, 1.0)
    courier.host.post_orders(Orders("robot-1", release=1))
    courier.hub.cut_after = 5
    courier.pins.step()
    courier.herald.step()
    assert [status.refused for status in courier.hub.beaten[-1]] == [0, 0]
    courier.hub.cut_after = None
    courier.fetcher._trust = Trust("another run")
    courier.host.post_orders(Orders("robot-1", release=1))
    courier.pins.step()
    courier.herald.step()
    refusing, other = courier.hub.beaten[-1]
    assert (refusing.refused, other.refused) == (1, 0)
    assert "not 'another run'" in refusing.alarm
    courier.host.post_orders(Orders("robot-1"))
    courier.pins.step()
    assert courier.pins.refused == frozenset()


def test_a_hub_that_has_no_orders_for_anybody_is_heard_again_at_the_next_beat(courier):
    join(courier)
    answer = courier.hub.beat
    courier.hub.beat = lambda statuses: answer(statuses)[:0]
    courier.herald.speak()
    courier.hub.beat = answer
    courier.herald.speak()
    assert len(courier.hub.beaten) == 2
    assert courier.host.orders("robot-1").attendant == "pool/1"
