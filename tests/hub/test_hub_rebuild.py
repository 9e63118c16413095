"""The catalog made anew from the objects alone: the same, row by row."""

import json
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hub_world import TASKS, publish, put, sealed
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetloop.core.clock import Virtual
from fleetloop.core.disk import RealDisk, alone
from fleetloop.core.errors import DiskTrouble, HubRefused, LeaseLost
from fleetloop.core.hub import EDGE, STABLE, LearnerStatus
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.hub.catalog.schema import HISTORY
from fleetloop.hub.options import LOCK, HubOptions, RetentionOptions
from fleetloop.hub.rebuild import CATALOG, rebuild
from fleetloop.hub.service import HubService
from fleetloop.hub.tokens import Scope

DISK, CLOCK = RealDisk(), Virtual(1000)


def opened(options):
    return HubService.open(options, CLOCK, DISK, TASKS)


def said(number, episode, **what):
    return Annotation(new_id(float(number), np.random.default_rng(number)), episode, "ann", Judge.PERSON, 1.0, **what)


def contents(options):
    service = opened(options)
    with service._catalog.reading() as records:
        found = {table.name: list(records.rows(table)) for table in HISTORY}
    service.close()
    return found


SAYINGS = ("fails", "exclude", "quality", "promote", "roll back", "resume", "pin")
DEEDS = st.lists(st.sampled_from(["episode", "publish", "bury", "remove", *SAYINGS]), max_size=12)


@settings(max_examples=25, deadline=None)
@given(DEEDS, st.booleans())
def test_whatever_has_happened_the_catalog_comes_back_as_it_was(deeds, follows):
    with tempfile.TemporaryDirectory() as name:
        retention = RetentionOptions(max_episodes=1, kinds=("correction",), grace_wall_s=0)
        options = HubOptions(directory=Path(name) / "hub", stable_follows_edge=follows, retention=retention)
        service, ids, version = opened(options), [], 0
        for number, deed in enumerate(deeds):
            if deed == "episode":
                episode = sealed(Path(name), "phhp", start_s=float(number))
                put(service, episode)
                ids.append(episode.meta.id)
            elif deed == "publish":
                version = publish(service, number).version
            elif deed == "promote" and version:
                service.promote(number % version + 1)
            elif deed == "bury":
                service.retention.bury()
            elif deed == "remove":
                service.report_learner(LearnerStatus("run-1", 0, 0, 100, False, 0.0, checkpoint=100))
                service.retention.remove()
            elif deed == "roll back" and version and (stable := service.channel(STABLE)):
                service.roll_back(number % stable.version + 1, reset_learner=bool(number % 2))
            elif deed == "resume":
                service.resume()
            elif deed == "pin" and version:
                service.publishing.helm.pin("robot-1", number % version + 1)
            elif ids and deed in ("fails", "exclude", "quality"):
                what = {
                    "fails": {"outcome": Outcome.FAILURE},
                    "exclude": {"exclude": True},
                    "quality": {"quality": 0.5},
                }
                with suppress(HubRefused):  # of one that has a tombstone
                    service.annotate(said(number, ids[number % len(ids)], **what[deed]))
        service.close()
        before = contents(options)
        found = rebuild(options, CLOCK, DISK)
        assert (found.different, found.damaged, found.unheard_of) == ((), (), ())
        assert contents(options) == before
        assert (found.episodes, found.releases) == (len(before["episodes"]), len(before["releases"]))


@pytest.fixture(params=["directory", "s3"])
def store(request):
    """Where objects are kept; of a catalog in PostgreSQL `test_hub_postgres.py` tells."""
    return request.getfixturevalue("bucket") if request.param == "s3" else ""


@pytest.fixture
def lived(options, outbox):
    """A hub that has lived a little and is stopped; its episodes."""
    service = opened(options)
    episodes = [sealed(outbox, start_s=float(number)) for number in range(3)]
    for episode in episodes:
        put(service, episode)
    publish(service)
    service.annotate(said(1, episodes[1].meta.id, outcome=Outcome.FAILURE))
    service.close()
    return episodes


def test_without_any_catalog_the_learner_goes_on_where_it_was(options, lived):
    before = contents(options)
    for path in options.directory.glob(f"{CATALOG}*"):
        path.unlink()
    found = rebuild(options, CLOCK, DISK)
    assert found.kept is None
    assert contents(options) == before
    service = opened(options)
    assert [event.seq for event in service.events(2)] == [3, 4]
    assert {row["id"]: row["outcome"] for row in service.episodes()}[lived[1].meta.id] == "failure"
    assert put(service, lived[0]) == 1, "what the hub has is known again"
    assert publish(service, 2).version == 2
    service.close()


@pytest.mark.parametrize(("left", "lost"), [("events", "releases"), ("releases", "events")])
def test_a_hub_without_its_catalog_does_not_begin_anew_over_its_objects(options, lived, kept, left, lost):
    for path in options.directory.glob(f"{CATALOG}*"):
        path.unlink()
    for name in kept.names(lost):
        kept.remove(name)
    with pytest.raises(DiskTrouble, match="an earlier hub's objects and no catalog; run `fleetloop hub rebuild`"):
        opened(options)
    rebuild(options, CLOCK, DISK)
    service = opened(options)
    assert (len(service.episodes()), len(service.releases())) == (3, 1 if left == "releases" else 0)
    service.close()


def test_a_damaged_catalog_is_kept_and_said_so(options, lived):
    (options.directory / CATALOG).write_bytes(b"no database at all" * 100)
    found = rebuild(options, CLOCK, DISK)
    assert found.different is None
    assert found.kept.read_bytes().startswith(b"no database")
    assert found.episodes == 3


@pytest.mark.parametrize("table", ["events", "episodes", "releases"])
def test_damage_inside_the_catalog_stops_nothing_and_takes_no_token(options, lived, table):
    service = opened(options)
    token, secret = service.tokens.issue(Scope.ROBOT)
    service.close()
    before = contents(options)
    path = options.directory / CATALOG
    with closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : page * size] = bytes(size)
    path.write_bytes(data)
    found = rebuild(options, CLOCK, DISK)
    assert (found.different, found.damaged) == (None, ())
    assert found.kept.read_bytes() == data
    assert contents(options) == before
    service = opened(options)
    assert service.tokens.holder(secret) == token
    service.close()


def test_a_row_that_is_no_json_any_more_stops_nothing(options, lived):
    before = contents(options)
    with closing(sqlite3.connect(options.directory / CATALOG)) as database, database:
        database.execute("UPDATE events SET data = substr(data, 2) WHERE seq = 2")
    assert rebuild(options, CLOCK, DISK).different is None
    assert contents(options) == before


def test_an_event_that_came_again_under_an_earlier_number_is_taken_once(options, lived, kept):
    """A group of uploads dies with its hub, and fewer of them come again: the last event objects stay behind."""
    (episode, *_), last = lived, "events/000000000005.json"
    epitaph = {"episode": episode.meta.id, "task": "restock/shelf", "why": "count", "wall_s": 1.0}
    kept.write(last, json.dumps({"kind": "tombstone", "ref": episode.meta.id, "data": epitaph}).encode())
    rebuild(options, CLOCK, DISK)
    before = contents(options)
    left = {6: "events/000000000001.json", 7: "events/000000000004.json", 8: last}
    for number, name in left.items():
        kept.write(f"events/{number:012d}.json", kept.read(name))
    found = rebuild(options, CLOCK, DISK)
    assert [line.split(":")[0] for line in found.damaged] == [f"events/{number:012d}.json" for number in left]
    assert (found.different, contents(options)) == ((), before)


def test_what_differs_is_named(options, lived):
    service = opened(options)
    with service._catalog.writing() as records:
        records.judge_episode(lived[0].meta.id, outcome="aborted")
    service.close()
    found = rebuild(options, CLOCK, DISK)
    assert len(found.different) == 2
    assert "had" in found.different[0]
    assert "outcome aborted" in found.different[0]
    assert "outcome success" in found.different[1]


def test_a_damaged_or_missing_episode_is_named_and_what_was_said_of_it_is_kept(options, lived, kept):
    first, second = (f"episodes/{lived[number].meta.id}.arrow" for number in (0, 1))
    kept.remove(first)
    kept.damage(second)
    found = rebuild(options, CLOCK, DISK)
    assert (found.episodes, found.annotations, found.different) == (3, 1, ())
    assert [line.split(":")[0] for line in found.damaged] == [first, second]
    assert "is gone" in found.damaged[0]
    assert "hashes to" in found.damaged[1]
    service = opened(options)
    for episode in lived[:2]:
        service.put_episode(episode.meta.id, episode.path, episode.hash)
        assert kept.read(f"episodes/{episode.path.name}") == episode.path.read_bytes()
    assert [row["outcome"] for row in service.episodes(outcome="failure")] == ["failure"]
    assert len(service.events(0)) == 4
    service.close()


@pytest.mark.parametrize("name", ["events/000000000004.json", "releases/00000001.json"])
def test_a_torn_object_is_left_out_by_name(options, lived, kept, name):
    kept.write(name, kept.read(name)[:40])
    found = rebuild(options, CLOCK, DISK)
    assert [line.split(":")[0] for line in found.damaged] == [name]
    assert found.episodes == 3


def test_a_manifest_of_another_kind_is_left_out_by_name(options, lived, kept):
    kept.write("releases/00000001.json", b'{"format": 2}')
    assert [line.split(":")[0] for line in rebuild(options, CLOCK, DISK).damaged] == ["releases/00000001.json"]


@pytest.mark.parametrize("follows", [True, False])
def test_no_channel_points_to_a_release_whose_blobs_are_gone(options, lived, kept, follows):
    options = options.model_copy(update={"stable_follows_edge": follows})
    service = opened(options)
    second = publish(service, 2)
    third = publish(service, 3)
    leaning = replace(third, encodings=(replace(third.encodings[0], base=second.version),), parent=3, step=100)
    service.publish(replace(leaning, version=0), service.claim_lease("learner"))
    service.promote(second.version)
    service.close()
    kept.remove(f"blobs/{second.blobs[0].hash}")
    found = rebuild(options, CLOCK, DISK)
    (line,) = found.damaged
    assert line.startswith("releases/00000002.json: 1 of its blobs are gone")
    service = opened(options)
    assert service.channel(EDGE).version == 3, "the fourth stands on the second"
    assert service.channel(STABLE).version == 1
    assert publish(service, 5).version == 5
    service.close()


def test_a_release_that_another_encoding_still_brings_keeps_its_channel(options, lived, kept):
    service = opened(options)
    second = publish(service, 2)
    (whole,) = second.encodings
    difference = b"a difference to the first"
    extra = replace(whole.blobs[0], hash=blake3(difference).hexdigest(), size=len(difference))
    both = replace(second, encodings=(whole, replace(whole, base=1, blobs=(extra,))), parent=2, step=75, version=0)
    service.put_blob(extra.hash, difference)
    third = service.publish(both, service.claim_lease("learner"))
    service.close()
    kept.remove(f"blobs/{extra.hash}")
    (line,) = rebuild(options, CLOCK, DISK).damaged
    assert line.startswith("releases/00000003.json: 1 of its blobs are gone")
    service = opened(options)
    assert service.channel(EDGE).version == third.version
    service.close()


def test_an_episode_whose_event_was_not_kept_comes_last(options, lived, kept):
    kept.remove(f"events/{1:012d}.json")
    found = rebuild(options, CLOCK, DISK)
    assert found.unheard_of == (lived[0].meta.id,)
    assert [event.ref for event in opened(options).events(0)][-1] == lived[0].meta.id


def test_what_was_said_of_an_episode_outlives_its_event(options, lived, kept):
    """An episode's event is not forced onto the disk, what people say of it is."""
    kept.remove(f"events/{2:012d}.json")
    found = rebuild(options, CLOCK, DISK)
    assert (found.unheard_of, found.annotations, found.damaged) == ((lived[1].meta.id,), 1, ())
    service = opened(options)
    (row,) = service.episodes(outcome="failure")
    assert row["id"] == lived[1].meta.id
    service.close()


def test_a_learner_from_before_can_not_publish_any_more(options, lived):
    service = opened(options)
    stale = service.claim_lease("learner")
    service.close()
    rebuild(options, CLOCK, DISK)
    service = opened(options)
    with pytest.raises(LeaseLost):
        service.renew_lease(stale)
    assert service.claim_lease("learner").fence > stale.fence
    service.close()


def test_tokens_outlive_it_where_the_catalog_can_be_read(options, lived):
    service = opened(options)
    token, secret = service.tokens.issue(Scope.ROBOT)
    service.close()
    assert rebuild(options, CLOCK, DISK).different == ()
    service = opened(options)
    assert service.tokens.holder(secret) == token
    service.close()


class KilledAfter(RealDisk):
    """The process ends at a rename."""

    def __init__(self, renames):
        super().__init__()
        self.left = renames

    def rename(self, source, target):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().rename(source, target)


@pytest.mark.parametrize("renames", range(5))
def test_tokens_outlive_a_rebuild_that_was_killed(options, lived, renames):
    service = opened(options)
    (token, secret), (revoked, gone) = (service.tokens.issue(Scope.ROBOT) for _ in range(2))
    service.close()
    rebuild(options, CLOCK, DISK)  # what it put aside is not what the killed one did
    service = opened(options)
    service.tokens.revoke(revoked.id)
    service.close()
    with suppress(KeyboardInterrupt):
        rebuild(options, CLOCK, KilledAfter(renames))
    assert rebuild(options, CLOCK, DISK).different == ()
    service = opened(options)
    assert service.tokens.holder(secret) == token
    with pytest.raises(HubRefused, match="revoked"):
        service.tokens.holder(gone)
    service.close()
    assert not list(options.directory.glob("*.buil*"))


def test_a_hub_that_runs_is_left_alone(options, lived):
    with alone(options.directory / LOCK, "hub", "runs", "stop it"), pytest.raises(DiskTrouble, match="running hub"):
        rebuild(options, CLOCK, DISK)


def test_a_rollback_stays(options, lived):
    service = opened(options)
    publish(service, 2)
    service.roll_back(1)
    publish(service, 3)
    service.close()
    assert rebuild(options, CLOCK, DISK).different == ()
    service = opened(options)
    assert (service.channel(STABLE).version, service.steering().held) == (1, True)
    publish(service, 4)
    assert service.channel(STABLE).version == 1
    service.close()


def test_events_are_objects_too(options, lived, kept):
    kinds = [json.loads(kept.read(name))["kind"] for name in kept.names("events")]
    assert kinds == ["episode"] * 3 + ["annotation"]
