"""Steering: a rollback that stays back, holds, pins, and how robots did by release. In process and over HTTP alike."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hub_world import World, behind_http, fresh_id, publish, put, registration, sealed

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import HubRefused, HubUnavailable
from fleetloop.core.hub import EDGE, STABLE, LearnerOrders, LearnerStatus, RobotStatus
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.core.steering import Tally
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions

Opened = Callable[[HubOptions, Virtual], AbstractContextManager[World]]


def at(world: World, channel: str) -> int:
    release = world.hub.channel(channel)
    return release.version if release else 0


def test_a_rollback_stays_back_while_the_learner_goes_on_until_it_is_ended(world: World) -> None:
    for seed in (1, 2, 3):
        publish(world.hub, seed)
    steering = world.hub.roll_back(1)
    assert (steering.held, steering.before) == (True, 3)
    assert (at(world, STABLE), at(world, EDGE)) == (1, 3)
    publish(world.hub, 4)
    assert (at(world, STABLE), at(world, EDGE)) == (1, 4)
    fleet = world.hub.fleet()
    assert (fleet.stable, fleet.edge, fleet.held) == (1, 4, True)
    world.hub.promote(4)
    assert (at(world, STABLE), world.hub.steering().held) == (4, False)
    publish(world.hub, 5)
    assert at(world, STABLE) == 5


def orders(world: World, answered: str = "") -> LearnerOrders:
    return world.hub.report_learner(LearnerStatus("run-1", 1, 1, 1, False, 0.0, answered=answered))


def test_a_rollback_may_tell_the_learner_to_go_back_too_until_it_answers(world: World) -> None:
    for seed in (1, 2, 3):
        publish(world.hub, seed, parent=seed - 1)
    world.hub.roll_back(2)
    assert orders(world) == LearnerOrders()
    said = world.hub.roll_back(2, reset_learner=True)
    assert (said.learner_to, world.hub.fleet().learner_to) == (2, 2)
    assert said.verdicts == {"3": "rolled back to 2"}, "release 2 has not been left"
    first = orders(world)
    assert (first.back_to, first.order) == (2, said.learner_order)
    assert world.hub.roll_back(1).learner_to == 2, "another rollback does not end it"
    world.hub.roll_back(1, reset_learner=True)
    second = orders(world, answered=first.order)
    assert second.back_to == 1, "an answer to an earlier order is no answer to this one"
    assert orders(world, answered=second.order) == LearnerOrders()
    world.hub.roll_back(1, reset_learner=True)
    world.hub.promote(3)
    assert orders(world) == LearnerOrders(), "a person has thought better of it"
    assert (world.hub.steering().learner_to, world.hub.fleet().learner_to) == (0, 0)


def test_without_a_version_it_goes_back_to_what_the_release_was_trained_on_from(world: World) -> None:
    publish(world.hub, 1)
    publish(world.hub, 2, parent=1)
    publish(world.hub, 3, parent=1)
    world.hub.roll_back()
    assert at(world, STABLE) == 1
    with pytest.raises(HubRefused, match="none before stable") as refusal:
        world.hub.roll_back()
    assert refusal.value.status == 409


def test_from_a_learner_that_began_anew_it_goes_back_to_what_robots_ran_before(world: World) -> None:
    publish(world.hub, 1)
    publish(world.hub, 2, parent=1)
    publish(world.hub, 3, parent=0)
    world.hub.roll_back()
    assert at(world, STABLE) == 2


def test_where_people_promote_it_goes_back_to_what_robots_ran_before(opened: Opened, options: HubOptions) -> None:
    with opened(options.model_copy(update={"stable_follows_edge": False}), Virtual()) as world:
        for seed in (1, 2, 3):
            publish(world.hub, seed, parent=seed - 1)
        world.hub.promote(1)
        world.hub.promote(3)
        world.hub.roll_back()
        assert at(world, STABLE) == 1


def test_back_is_not_forward(world: World) -> None:
    publish(world.hub, 1)
    publish(world.hub, 2)
    world.hub.roll_back(1)
    with pytest.raises(HubRefused, match="newer than stable") as refusal:
        world.hub.roll_back(2)
    assert refusal.value.status == 409
    with pytest.raises(HubRefused, match="no release 9") as unknown:
        world.hub.promote(9)
    assert unknown.value.status == 404
    assert at(world, STABLE) == 1


def test_a_hold_keeps_stable_where_it_is_and_its_end_lets_it_catch_up(world: World) -> None:
    with pytest.raises(HubRefused, match="no release yet"):
        world.hub.hold()
    publish(world.hub, 1)
    assert world.hub.hold().held
    publish(world.hub, 2)
    assert at(world, STABLE) == 1
    assert not world.hub.resume().held
    assert at(world, STABLE) == 2


def test_a_pinned_robot_is_told_with_its_orders_and_others_are_not(world: World) -> None:
    publish(world.hub, 1)
    publish(world.hub, 2)
    for robot in ("robot-1", "robot-2"):
        world.hub.register(registration(robot))
    world.hub.pin("robot-1", 1)
    statuses = [RobotStatus("robot-1", "running"), RobotStatus("robot-2", "running")]
    assert [told.release for told in world.hub.beat(statuses)] == [1, 0]
    assert [member.orders.release for member in world.hub.fleet().members] == [1, 0]
    world.hub.pin("robot-1", 0)
    assert [told.release for told in world.hub.beat(statuses)] == [0, 0]
    for robot, version in (("robot-9", 1), ("robot-1", 9)):
        with pytest.raises(HubRefused) as refusal:
            world.hub.pin(robot, version)
        assert refusal.value.status == 404


def test_a_change_whose_answer_was_lost_is_not_undone_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (1, 2, 3):
        publish(world.hub, seed)
    world.hub.register(registration())
    catalog = world.service._catalog
    writing = catalog.writing

    @contextmanager
    def lost(*given: float) -> Iterator[object]:
        with writing(*given) as records:
            yield records
        raise HubUnavailable("hub catalog", "its answer to COMMIT was lost")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "writing", lost)
        with pytest.raises(HubUnavailable):
            world.hub.roll_back(1)
    world.hub.pin("robot-1", 2)
    publish(world.hub, 4)
    assert (world.hub.steering().held, at(world, STABLE)) == (True, 1)


def test_a_robot_that_is_gone_is_forgotten_with_its_pin_and_may_come_back(opened: Opened, options: HubOptions) -> None:
    gone, here, clock = "arm 1", "arm-2", Virtual()
    with opened(options, clock) as world:
        publish(world.hub, 1)
        for robot in (gone, here):
            world.hub.register(registration(robot))
        world.hub.pin(gone, 1)
        world.hub.beat([RobotStatus(gone, "stopped"), RobotStatus(here, "running")])
        with pytest.raises(HubRefused, match="stop its actor") as refusal:
            world.hub.forget(gone)
        assert refusal.value.status == 409
        clock.advance(options.silent_s + 1)
        world.hub.beat([RobotStatus(here, "running")])
        world.hub.forget(gone)
        assert [member.registration.robot for member in world.hub.fleet().members] == [here]
        assert world.hub.steering().pins == {}
        for call in (lambda: world.hub.forget(gone), lambda: world.hub.beat([RobotStatus(gone, "running")])):
            with pytest.raises(HubRefused) as refusal:
                call()
            assert refusal.value.status == 404
    with opened(options, clock) as world:
        assert [member.registration.robot for member in world.hub.fleet().members] == [here]
        world.hub.register(registration(gone))
        assert len(world.hub.fleet().members) == 2


def test_all_of_it_outlives_a_restart_of_the_hub(opened: Opened, options: HubOptions) -> None:
    with opened(options, Virtual()) as world:
        publish(world.hub, 1)
        publish(world.hub, 2)
        world.hub.register(registration())
        world.hub.pin("robot-1", 2)
        world.hub.roll_back(1, reset_learner=True)
        said = world.hub.steering()
    with opened(options, Virtual()) as world:
        assert world.hub.steering() == said
        assert orders(world) == LearnerOrders(said.learner_order, 1)
        publish(world.hub, 3)
        assert at(world, STABLE) == 1
        (told,) = world.hub.beat([RobotStatus("robot-1", "running")])
        assert told.release == 2


def test_how_robots_did_is_counted_by_release_as_it_stands_after_all_annotations(world: World, outbox: Path) -> None:
    def say(episode: str, **what: object) -> None:
        world.hub.annotate(Annotation(fresh_id(), episode, "ann", Judge.PERSON, 1.0, **what))  # type: ignore[arg-type]

    for seed in (1, 2, 3):
        publish(world.hub, seed)
    for sources, release in (("pppp", 1), ("pppp", 1), ("phhp", 1), ("pppp", 2), ("phhh", 2), ("hhhh", 2)):
        put(world.hub, sealed(outbox, sources, release=release))
    failed, excluded, aborted = (sealed(outbox, "pppp", release=2) for _ in range(3))
    for episode in (failed, excluded, aborted):
        put(world.hub, episode)
    for sources in ("pppp", "pppp", "phhp"):
        put(world.hub, sealed(outbox, sources, release=2, purpose="evaluation"))
    say(failed.meta.id, outcome=Outcome.FAILURE)
    say(excluded.meta.id, exclude=True)
    say(aborted.meta.id, outcome=Outcome.ABORTED)
    assert list(world.hub.tallies()) == [Tally(1, 3, 3, 2, 1), Tally(2, 3, 2, 1, 1)]
    assert list(world.hub.tallies(purpose="evaluation")) == [Tally(2, 3, 3, 2, 1)]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"version": "1"}, "version"),
        ({"version": -1}, "version"),
        ({"held": 1}, "held"),
        ({"version": 1, "held": True, "reset_learner": 1}, "reset_learner"),
        ({"version": 1, "reset_learner": True}, "reset_learner"),
        ({"held": True, "reset_learner": True}, "reset_learner"),
    ],
)
def test_steering_that_is_no_sense_is_refused_by_field(
    options: HubOptions, said: dict[str, object], field: str
) -> None:
    with behind_http(options, Virtual()) as world:
        assert isinstance(world.hub, HttpHub)
        publish(world.hub)
        with pytest.raises(HubRefused) as refusal:
            world.hub._line.call("PUT", "/v1/channels/stable", json=said)
        assert refusal.value.field == field


def test_a_purpose_that_there_is_not_is_refused(options: HubOptions) -> None:
    with behind_http(options, Virtual()) as world:
        assert isinstance(world.hub, HttpHub)
        with pytest.raises(HubRefused, match="purpose: is 'fun'; use one of online, demonstration, evaluation"):
            world.hub.tallies("fun")
