"""A robot's name belongs to one host at a time: a second machine with the same configuration is told, not mixed in."""

from dataclasses import replace

import pytest
from hub_world import World, registration

from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import RobotStatus

HERE, ELSEWHERE = registration(), replace(registration(), host="host-2")


def hosts(world: World) -> list[str]:
    return [member.registration.host for member in world.hub.fleet().members]


def test_a_robot_that_is_there_can_not_join_from_another_host(world: World) -> None:
    world.hub.register(HERE)
    world.hub.beat([RobotStatus("robot-1", "running")])
    world.clock.advance(3)
    with pytest.raises(HubRefused, match=r"'robot-1' is there on host 'host-1', heard 3.0 s ago.*'host-2'") as refusal:
        world.hub.register(ELSEWHERE)
    assert refusal.value.status == 409
    assert hosts(world) == ["host-1"]
    world.hub.register(HERE)
    world.hub.beat([RobotStatus("robot-1", "running")])


@pytest.mark.parametrize(("phase", "after_s"), [("running", 16.0), ("stopped", 1.0)])
def test_it_moves_once_it_is_silent_or_says_that_it_has_stopped(world: World, phase: str, after_s: float) -> None:
    world.hub.register(HERE)
    world.hub.beat([RobotStatus("robot-1", phase)])
    world.clock.advance(after_s)
    world.hub.register(ELSEWHERE)
    assert hosts(world) == ["host-2"]
    for other in ("host-1", "host-3"):  # before its first beat, too
        with pytest.raises(HubRefused, match="'host-2'"):
            world.hub.register(replace(HERE, host=other))
    world.hub.beat([RobotStatus("robot-1", "running", host="host-2")])
    with pytest.raises(HubRefused, match="'host-2'"):
        world.hub.register(HERE)


def test_whoever_had_the_name_before_speaks_for_it_no_longer(world: World) -> None:
    world.hub.register(HERE)
    world.hub.beat([RobotStatus("robot-1", "running", host="host-1", frames=7)])
    world.clock.advance(16)
    world.hub.register(ELSEWHERE)
    world.hub.beat([RobotStatus("robot-1", "running", host="host-2", frames=1)])
    with pytest.raises(HubRefused, match=r"registered on 'host-2' since, not on 'host-1'") as refusal:
        world.hub.beat([RobotStatus("robot-1", "running", host="host-1", frames=8)])
    assert refusal.value.status == 404
    (member,) = world.hub.fleet().members
    assert member.status
    assert member.status.frames == 1
