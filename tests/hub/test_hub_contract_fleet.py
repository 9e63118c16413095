"""What every Hub promises about releases and the fleet, asked of the service and of its HTTP client alike."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import NoReturn

import pytest
from blake3 import blake3
from hub_world import (
    POLICY,
    SPEC,
    World,
    manifest,
    publish,
    put,
    put_blobs,
    registration,
    sealed,
    wants,
)

from fleetloop.core.clock import Virtual
from fleetloop.core.errors import (
    EpisodeInvalid,
    FleetLoopError,
    HubRefused,
    HubUnavailable,
    LeaseLost,
    ReleaseInvalid,
    SpecMismatch,
)
from fleetloop.core.hub import EDGE, STABLE, LearnerStatus, RobotStatus
from fleetloop.core.release import Encoding
from fleetloop.core.spec import FeatureSpec
from fleetloop.hub.catalog.catalog import Catalog
from fleetloop.hub.options import HubOptions
from fleetloop.weights.codec import result_hash

# ---------------------------------------------------------------------- releases


def test_releases_are_numbered_and_both_channels_follow(world: World) -> None:
    first, second = publish(world.hub, 1), publish(world.hub, 2, parent=1)
    assert (first.version, second.version) == (1, 2)
    assert world.hub.channel(EDGE) == world.hub.channel(STABLE) == second
    assert world.hub.channel(STABLE, after=2) is None
    assert world.hub.channel(STABLE, after=1) == second
    assert world.hub.release(1) == first
    assert list(world.hub.releases()) == [second, first]
    assert list(world.hub.releases(limit=1)) == [second]
    assert blake3(world.hub.get_blob(second.blobs[0])).hexdigest() == second.blobs[0].hash


def test_the_same_manifest_again_is_the_same_release(world: World) -> None:
    release, encoded = manifest()
    put_blobs(world.hub, encoded)
    lease = world.hub.claim_lease("learner")
    assert world.hub.publish(release, lease) == world.hub.publish(release, lease)
    assert len(world.hub.releases()) == 1


def test_a_waiting_courier_wakes_when_a_release_comes(world: World) -> None:
    got: list[object] = []
    courier = Thread(target=lambda: got.append(world.hub.channel(STABLE, wait_s=60)))
    courier.start()
    release = publish(world.hub)
    courier.join(timeout=30)
    assert got == [release]


def other_tensor(**changes: object) -> dict[str, object]:
    """What changes in a manifest whose tensor is described otherwise."""
    tensors = (replace(manifest()[0].tensors[0], **changes),)
    return {"tensors": tensors, "result_hash": result_hash(tensors)}


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("tensor head.weight", other_tensor(dtype="complex64")),
        ("tensor head.weight", other_tensor(shape=(1 << 40,))),
        ("tensor '../head'", other_tensor(name="../head")),
        ("result_hash", {"result_hash": "0" * 64}),
        ("result_hash", {"result_hash": "nonsense"}),
        ("spec_hash", {"spec_hash": "0" * 64}),
        ("spec", {"spec": {"inputs": []}}),
        ("spec", {"spec": {**manifest()[0].spec, "horizon": "8"}}),
        ("spec", {"spec": {**manifest()[0].spec, "cameras": [{"name": "top", "height": "480", "width": 640}]}}),
        ("parent", {"parent": 3}),
        ("base", {"encodings": (Encoding("blocks/1", 10**30, manifest()[0].blobs),)}),
        ("run", {"run": ""}),
        ("encodings", {"encodings": ()}),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(world: World, field: str, changes: dict[str, object]) -> None:
    with pytest.raises(ReleaseInvalid) as refusal:
        publish(world.hub, **changes)
    assert refusal.value.field == field
    assert world.hub.releases() == []
    assert world.hub.channel(EDGE) is None


def test_a_release_without_its_blobs_is_refused(world: World) -> None:
    release, encoded = manifest()
    with pytest.raises(ReleaseInvalid, match="is not here"):
        world.hub.publish(release, world.hub.claim_lease("learner"))
    (hash,) = encoded.blobs
    with pytest.raises(ReleaseInvalid, match="hash"):
        world.hub.put_blob(hash, b"other bytes")
    with pytest.raises(FleetLoopError, match="escape"):
        world.hub.put_blob("../../escape", b"other bytes")
    assert world.kept.names("blobs", "incoming") == []


def test_a_hub_serves_one_run(world: World, outbox: Path) -> None:
    publish(world.hub)
    with pytest.raises(ReleaseInvalid, match="run"):
        publish(world.hub, 2, run="run-2")
    with pytest.raises(EpisodeInvalid, match="run-2"):
        put(world.hub, sealed(outbox, run="run-2"))
    put(world.hub, sealed(outbox, run="run-2", purpose="demonstration"))


def test_stable_can_wait_for_a_promotion(
    opened: Callable[[HubOptions, Virtual], AbstractContextManager[World]], options: HubOptions
) -> None:
    with opened(options.model_copy(update={"stable_follows_edge": False}), Virtual()) as world:
        release = publish(world.hub)
        assert world.hub.channel(EDGE) == release
        assert world.hub.channel(STABLE) is None
        world.hub.promote(1)
        assert world.hub.channel(STABLE) == release
        with pytest.raises(HubRefused, match="no release 9"):
            world.hub.promote(9)


# ---------------------------------------------------------------------- the learner's lease


def test_a_stale_learner_can_not_publish(world: World) -> None:
    stale = world.hub.claim_lease("learner-1")
    with pytest.raises(LeaseLost, match="learner-1") as refusal:
        world.hub.claim_lease("learner-2")
    assert refusal.value.status == 409
    world.clock.advance(61)
    lease = world.hub.claim_lease("learner-2")
    assert lease.fence > stale.fence
    release, encoded = manifest()
    put_blobs(world.hub, encoded)
    for refused in (lambda: world.hub.publish(release, stale), lambda: world.hub.renew_lease(stale)):
        with pytest.raises(LeaseLost, match="learner-2") as lost:
            refused()
        assert lost.value.status == 409
    assert world.hub.releases() == []
    assert world.hub.publish(release, lease).version == 1


def test_a_renewed_lease_keeps_others_away(world: World) -> None:
    lease = world.hub.claim_lease("learner-1")
    world.clock.advance(50)
    assert world.hub.renew_lease(lease).until == world.clock.now() + 60
    world.clock.advance(50)
    with pytest.raises(LeaseLost):
        world.hub.claim_lease("learner-2")


def test_a_restarted_learner_takes_its_own_place_at_once_under_a_new_fence(world: World) -> None:
    before = world.hub.claim_lease("learner-1")
    assert world.hub.claim_lease("learner-1").fence == before.fence + 1
    with pytest.raises(LeaseLost):
        world.hub.renew_lease(before)


# ---------------------------------------------------------------------- fleet


def test_a_robot_that_does_not_fit_is_refused_with_both_sides(world: World) -> None:
    publish(world.hub)
    narrow = replace(SPEC, state=(FeatureSpec("hands", (3,)),))
    with pytest.raises(SpecMismatch) as refusal:
        world.hub.register(registration(spec=narrow))
    assert "float32[4]" in str(refusal.value)
    assert "float32[3]" in str(refusal.value)
    assert world.hub.fleet().members == ()
    world.hub.register(registration())


def test_a_robot_that_came_before_the_policy_and_does_not_fit_is_told_with_its_orders(world: World) -> None:
    slow = replace(SPEC, control_hz=10)
    world.hub.register(registration(spec=slow))
    publish(world.hub)
    (orders,) = world.hub.beat([RobotStatus("robot-1", "waiting")])
    assert "control_hz" in orders.alarm
    assert "control_hz" in world.hub.fleet().members[0].orders.alarm


def test_the_fleet_view_shows_robots_learner_and_channels(world: World, outbox: Path) -> None:
    world.hub.register(registration("robot-2"))
    world.hub.register(registration("robot-1"))
    publish(world.hub)
    put(world.hub, sealed(outbox))
    status = RobotStatus("robot-1", "running", "restock/shelf", episodes=3, ticks_missed=1, lateness_s=0.25)
    world.hub.beat([status])
    learner = LearnerStatus("run-1", 50, 1, 1, False, 0.5, {"loss": {"restock/shelf": 0.25}})
    world.hub.report_learner(learner)
    world.clock.advance(10)
    fleet = world.hub.fleet()
    assert [member.registration.robot for member in fleet.members] == ["robot-1", "robot-2"]
    assert fleet.members[0].registration == registration("robot-1")
    assert [member.status for member in fleet.members] == [status, None]
    assert (fleet.learner, fleet.learner_silent_s, fleet.members[0].silent_s) == (learner, 10, 10)
    assert (fleet.clock_s, fleet.episodes, fleet.edge, fleet.stable) == (1010, 1, 1, 1)
    assert fleet.alarm == ""


def test_a_checkpoint_that_no_database_can_count_to_is_refused(world: World) -> None:
    for checkpoint in (-1, 1 << 63):
        with pytest.raises(HubRefused, match="checkpoint"):
            world.hub.report_learner(LearnerStatus("run-1", 1, 1, 1, False, 0.0, checkpoint=checkpoint))


def test_a_learner_that_is_not_heard_any_more_is_an_alarm(world: World) -> None:
    learner = LearnerStatus("run-1", 50, 1, 1, False, 0.5, {})
    world.hub.report_learner(learner)
    world.clock.advance(3600)
    assert world.hub.fleet().alarm == "learner: not heard for 3600 s"
    world.hub.report_learner(learner)
    assert world.hub.fleet().alarm == ""


def test_a_silent_robot_shows_as_offline(world: World) -> None:
    world.hub.register(registration())
    world.hub.beat([RobotStatus("robot-1", "running")])
    world.clock.advance(16)
    (member,) = world.hub.fleet().members
    assert member.status
    assert (member.status.phase, member.silent_s) == ("offline", 16)


def test_unknown_robots_and_tasks_are_refused(world: World) -> None:
    with pytest.raises(HubRefused, match=r"robot-9.*register"):
        world.hub.beat([RobotStatus("robot-9", "running")])
    with pytest.raises(FleetLoopError, match=r"laundry/iron.*box/walls"):
        world.hub.register(replace(registration(), tasks=("laundry/iron",)))


# ---------------------------------------------------------------------- attention


def test_attention_is_limited_and_passes_on(world: World) -> None:
    for robot in ("a", "b", "c"):
        world.hub.register(registration(robot))
    a, b, c = world.hub.beat([wants("a"), wants("b"), wants("c")])
    assert (a.attendant, b.attendant, c.attendant) == ("shift-1", "shift-1", "")
    assert (a.attention_until, c.attention_until) == (1010, 0)
    a, c = world.hub.beat([wants("a", False), wants("c")])
    assert (a.attendant, c.attendant) == ("", "shift-1")
    world.clock.advance(11)  # nobody renewed
    (a,) = world.hub.beat([wants("a")])
    assert a.attention_until == world.clock.now() + 10


def test_a_catalog_that_can_not_be_written_keeps_beats_and_view_going(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of a lease that a restart would forget; all else goes on."""
    for robot in ("a", "b"):
        world.hub.register(registration(robot))
    world.hub.beat([wants("a")])
    with monkeypatch.context() as patch:

        def read_only(_: object, *__: object) -> NoReturn:
            raise HubUnavailable("hub catalog", "can't be written")

        patch.setattr(Catalog, "writing", read_only)
        a, b = world.hub.beat([wants("a"), wants("b")])
        assert (a.attendant, b.attendant) == ("shift-1", "")
        fleet = world.hub.fleet()
        assert [member.orders.attendant for member in fleet.members] == ["shift-1", ""]
        assert "can't be written" in fleet.alarm
    world.clock.advance(1)
    a, b = world.hub.beat([wants("a"), wants("b")])
    assert (a.attendant, b.attendant) == ("shift-1", "shift-1")
    assert world.hub.fleet().alarm == ""


def test_a_write_that_takes_for_ever_keeps_beats_and_view_going(world: World) -> None:
    """As while an object goes to a store that hangs: who has an operator keeps it, and nobody gets a new one."""
    for robot in ("a", "b"):
        world.hub.register(registration(robot))
    world.hub.beat([wants("a")])
    with ThreadPoolExecutor() as pool, world.service._catalog.writing():
        joining = pool.submit(world.hub.register, registration("c"))
        for _ in range(2):
            a, b = pool.submit(world.hub.beat, [wants("a"), wants("b")]).result(timeout=30)
            assert (a.attendant, b.attendant) == ("shift-1", "")
        fleet = pool.submit(world.hub.fleet).result(timeout=30)
        assert "attention: hub catalog: is written to" in fleet.alarm
        assert not joining.done()
    joining.result()
    world.clock.advance(1)
    a, b = world.hub.beat([wants("a"), wants("b")])
    assert (a.attendant, b.attendant) == ("shift-1", "shift-1")
    assert world.hub.fleet().alarm == ""


def test_the_policy_of_a_release_is_readable_from_its_manifest(world: World) -> None:
    assert publish(world.hub).policy_spec() == POLICY


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_a_robot_that_no_address_could_name_may_not_join(world: World, name: str) -> None:
    with pytest.raises(HubRefused, match="is no name"):
        world.hub.register(registration(name))
