"""What every Hub promises about experience, asked of the service itself and of its HTTP client alike."""

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from hub_world import (
    World,
    fresh_id,
    publish,
    put,
    sealed,
)

from fleetloop.core.episode import Episode, judged
from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import EDGE
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.core.release import BlobEntry

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
        lambda: world.hub.get_blob(BlobEntry("0" * 64, 1)),
        lambda: world.hub.release(7),
        lambda: world.hub.channel("beta"),
    ):
        with pytest.raises(HubRefused) as refusal:
            ask()
        assert refusal.value.status == 404
    assert not list(tmp_path.glob("*x*"))


def test_an_episode_whose_file_was_lost_is_said_to_be_lost(world: World, outbox: Path, tmp_path: Path) -> None:
    episode = sealed(outbox)
    put(world.hub, episode)
    world.kept.remove(f"episodes/{episode.path.name}")
    with pytest.raises(HubRefused, match="gone"):
        world.hub.get_episode(episode.meta.id, tmp_path / "copy")


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
    assert any(person.id in world.kept.read(name).decode() for name in world.kept.names("events"))


def test_the_newest_statement_is_the_one_that_came_last_whatever_its_authors_clock_said(
    world: World, outbox: Path
) -> None:
    episode = sealed(outbox)
    put(world.hub, episode)
    later, earlier = sorted((fresh_id(), fresh_id()), reverse=True)
    fails = _says(episode.meta.id, Judge.PERSON, Outcome.FAILURE, exclude=True, quality=0.1)
    mended = _says(episode.meta.id, Judge.PERSON, Outcome.SUCCESS, exclude=False, quality=0.9)
    world.hub.annotate(replace(fails, id=later))
    world.hub.annotate(replace(mended, id=earlier))
    (row,) = world.hub.episodes()
    assert [row[name] for name in ("outcome", "judge", "excluded", "quality")] == ["success", "person", False, 0.9]
    said = [Annotation.from_json(dict(event.data)) for event in world.hub.events(1)]
    assert judged(Episode.open(episode.path), said).meta.outcome is Outcome.SUCCESS


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
