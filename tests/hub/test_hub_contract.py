"""What every Hub promises, asked of the service itself and of its HTTP client alike."""

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from blake3 import blake3
from hub_world import (
    POLICY,
    SPEC,
    World,
    fresh_id,
    manifest,
    publish,
    put,
    put_blobs,
    registration,
    sealed,
    wants,
)

from fleetloop.core.errors import EpisodeInvalid, FleetLoopError, HubRefused, LeaseLost, ReleaseInvalid, SpecMismatch
from fleetloop.core.hub import EDGE, STABLE, LearnerStatus, RobotStatus
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.core.spec import FeatureSpec

# ---------------------------------------------------------------------- experience


def test_an_episode_comes_back_byte_for_byte(world: World, outbox: Path, tmp_path: Path) -> None:
    episode = sealed(outbox)
    acknowledgement = world.hub.put_episode(episode.meta.id, episode.path, episode.hash)
    assert (acknowledgement.id, acknowledgement.known) == (episode.meta.id, False)
    world.hub.get_episode(episode.meta.id, tmp_path / "copy.arrow")
    assert (tmp_path / "copy.arrow").read_bytes() == episode.path.read_bytes()


def test_the_same_episode_again_is_the_same_entry(world: World, outbox: Path) -> None:
    episode = sealed(outbox)
    first = world.hub.put_episode(episode.meta.id, episode.path, episode.hash)
    again = world.hub.put_episode(episode.meta.id, episode.path, episode.hash)
    assert again == replace(first, known=True)
    assert len(world.hub.events(0)) == len(world.hub.episodes()) == 1


def test_other_bytes_under_a_known_id_are_refused_with_both_hashes(world: World, outbox: Path) -> None:
    episode = sealed(outbox)
    put(world.hub, episode)
    other = sealed(outbox, "pp", id=episode.meta.id)
    with pytest.raises(HubRefused) as refusal:
        put(world.hub, other)
    assert refusal.value.status == 409
    assert episode.hash in str(refusal.value)
    assert other.hash in str(refusal.value)


def test_the_catalog_row_says_what_the_learner_needs(world: World, outbox: Path) -> None:
    publish(world.hub, 1)
    publish(world.hub, 2)
    episode = sealed(outbox, "pphhphhh", release=1)
    seq = put(world.hub, episode)
    (event,) = world.hub.events(0)
    assert (event.seq, event.kind, event.ref) == (seq, "episode", episode.meta.id)
    expected = {
        "task": "restock/shelf",
        "site": "site-1",
        "robot": "robot-1",
        "purpose": "online",
        "outcome": "success",
        "judge": "simulator",
        "frames": 8,
        "frames_human": 5,
        "interventions": 2,
        "human_runs": [[2, 4], [5, 8]],
        "takeover_ends_s": [pytest.approx(100.15), pytest.approx(100.35)],
        "first_clock_s": 100.0,
        "last_clock_s": pytest.approx(100.35),
        "release_min": 1,
        "release_max": 1,
        "staleness": 1,
        "bytes": episode.size,
        "received_clock_s": 1000.0,
        "ticks_missed": 1,
    }
    assert {name: event.data[name] for name in expected} == expected
    (row,) = world.hub.episodes()
    assert {name: row[name] for name in expected} == expected


def test_an_empty_aborted_episode_is_kept(world: World, outbox: Path) -> None:
    put(world.hub, sealed(outbox, ""))
    (row,) = world.hub.episodes()
    assert (row["frames"], row["first_clock_s"]) == (0, None)


def test_listing_is_newest_first_and_can_be_narrowed(world: World, outbox: Path) -> None:
    shelf, walls = sealed(outbox), sealed(outbox, task="box/walls")
    put(world.hub, shelf)
    put(world.hub, walls)
    assert [row["id"] for row in world.hub.episodes()] == [walls.meta.id, shelf.meta.id]
    assert [row["id"] for row in world.hub.episodes(task="restock/shelf")] == [shelf.meta.id]
    assert world.hub.episodes(outcome="failure") == []
    assert len(world.hub.episodes(limit=1)) == 1
    with pytest.raises(HubRefused, match=r"outcome.*success, failure"):
        world.hub.episodes(outcome="won")


def test_what_is_not_there_is_refused_by_name(world: World, tmp_path: Path) -> None:
    for ask in (
        lambda: world.hub.get_episode(fresh_id(), tmp_path / "x"),
        lambda: world.hub.annotations("nothing"),
        lambda: world.hub.get_blob("0" * 64),
        lambda: world.hub.release(7),
        lambda: world.hub.channel("beta"),
    ):
        with pytest.raises(HubRefused) as refusal:
            ask()
        assert refusal.value.status == 404
    assert not list(tmp_path.glob("*x*"))


# ---------------------------------------------------------------------- annotations


def _says(episode: str, judge: Judge, outcome: Outcome | None = None, **more: bool | float) -> Annotation:
    return Annotation(fresh_id(), episode, "ann", judge, 1.7e9, outcome, **more)  # type: ignore[arg-type]


def test_the_highest_ranking_judge_stands_in_listings_and_events_deliver_everything(world: World, outbox: Path) -> None:
    episode = sealed(outbox)
    put(world.hub, episode)
    id = episode.meta.id
    person = _says(id, Judge.PERSON, Outcome.FAILURE, exclude=True, quality=0.25)
    classifier = _says(id, Judge.CLASSIFIER, Outcome.TIMEOUT)
    assert [world.hub.annotate(person), world.hub.annotate(classifier)] == [2, 3]
    (row,) = world.hub.episodes(outcome="failure")
    assert [row[name] for name in ("outcome", "judge", "excluded", "quality")] == ["failure", "person", True, 0.25]
    assert row["recorded_outcome"] == "success"
    assert list(world.hub.annotations(id)) == [person, classifier]
    episode_event, *later = world.hub.events(0)
    assert episode_event.data["outcome"] == "success"
    assert [(event.kind, Annotation.from_json(dict(event.data))) for event in later] == [
        ("annotation", person),
        ("annotation", classifier),
    ]
    assert f"annotations/{id}/{person.id}.json" in world.stored()


def test_a_lower_judge_does_not_overrule_the_recorded_one(world: World, outbox: Path) -> None:
    episode = sealed(outbox)
    put(world.hub, episode)
    world.hub.annotate(_says(episode.meta.id, Judge.CLASSIFIER, Outcome.FAILURE))
    (row,) = world.hub.episodes()
    assert (row["outcome"], row["judge"]) == ("success", "simulator")


def test_the_same_annotation_again_is_the_same_entry(world: World, outbox: Path) -> None:
    episode = sealed(outbox)
    put(world.hub, episode)
    annotation = _says(episode.meta.id, Judge.PERSON, Outcome.FAILURE)
    assert world.hub.annotate(annotation) == world.hub.annotate(annotation)
    with pytest.raises(HubRefused, match="something else"):
        world.hub.annotate(replace(annotation, author="bob"))


def test_an_annotation_of_nothing_is_refused(world: World) -> None:
    with pytest.raises(HubRefused, match="episode"):
        world.hub.annotate(_says(fresh_id(), Judge.PERSON, Outcome.FAILURE))


# ---------------------------------------------------------------------- events


def test_the_cursor_pages_through_everything_in_order(world: World, outbox: Path) -> None:
    put_ids = [episode.meta.id for episode in (sealed(outbox) for _ in range(5)) if put(world.hub, episode)]
    seen, after = [], 0
    while batch := world.hub.events(after, limit=2):
        seen += [event.ref for event in batch]
        after = batch[-1].seq
    assert seen == put_ids


def test_a_waiting_reader_wakes_when_an_episode_comes(world: World, outbox: Path) -> None:
    found: list[str] = []
    readers = [
        Thread(target=lambda: found.extend(event.ref for event in world.hub.events(0, wait_s=60))) for _ in range(4)
    ]
    for reader in readers:
        reader.start()
    episode = sealed(outbox)
    put(world.hub, episode)
    for reader in readers:
        reader.join(timeout=30)
        assert not reader.is_alive()
    assert found == [episode.meta.id] * 4


def test_a_wait_for_nothing_ends(world: World) -> None:
    assert world.hub.events(0, wait_s=0.05) == []
    assert world.hub.channel(EDGE, wait_s=0.05) is None


def test_a_cursor_from_another_history_is_refused(world: World) -> None:
    with pytest.raises(HubRefused, match="newest event is 0"):
        world.hub.events(12)


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
    assert blake3(world.hub.get_blob(second.blobs[0].hash)).hexdigest() == second.blobs[0].hash


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


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("result_hash", {"result_hash": "0" * 64}),
        ("result_hash", {"result_hash": "nonsense"}),
        ("spec_hash", {"spec_hash": "0" * 64}),
        ("spec", {"spec": {"inputs": []}}),
        ("parent", {"parent": 3}),
        ("base", {"base": 10**30}),
        ("run", {"run": ""}),
        ("blobs", {"blobs": ()}),
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
    assert not any("blob" in name or "incoming" in name for name in world.stored())


def test_a_hub_serves_one_run(world: World, outbox: Path) -> None:
    publish(world.hub)
    with pytest.raises(ReleaseInvalid, match="run"):
        publish(world.hub, 2, run="run-2")
    with pytest.raises(EpisodeInvalid, match="run-2"):
        put(world.hub, sealed(outbox, run="run-2"))
    put(world.hub, sealed(outbox, run="run-2", purpose="demonstration"))


# ---------------------------------------------------------------------- the learner's lease


def test_a_stale_learner_can_not_publish(world: World) -> None:
    stale = world.hub.claim_lease("learner-1")
    with pytest.raises(HubRefused, match="learner-1") as refusal:
        world.hub.claim_lease("learner-2")
    assert refusal.value.status == 409
    world.clock.advance(61)
    lease = world.hub.claim_lease("learner-2")
    assert lease.fence > stale.fence
    release, encoded = manifest()
    put_blobs(world.hub, encoded)
    for refused in (lambda: world.hub.publish(release, stale), lambda: world.hub.renew_lease(stale)):
        with pytest.raises(LeaseLost, match="learner-2"):
            refused()
    assert world.hub.releases() == []
    assert world.hub.publish(release, lease).version == 1


def test_a_renewed_lease_keeps_others_away(world: World) -> None:
    lease = world.hub.claim_lease("learner-1")
    world.clock.advance(50)
    assert world.hub.renew_lease(lease).until == world.clock.now() + 60
    world.clock.advance(50)
    with pytest.raises(HubRefused):
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


def test_the_policy_of_a_release_is_readable_from_its_manifest(world: World) -> None:
    assert publish(world.hub).policy_spec() == POLICY
