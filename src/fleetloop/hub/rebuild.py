"""The catalog again, from the objects alone: for a database that is lost or damaged.

Events keep their numbers, so that a learner goes on from its checkpoint. What is not experience or release is not
among the objects: robots register anew by themselves, tokens are taken over from the catalog that was there if that can
be read, else they must be issued anew, and the learner's fence begins above every earlier one. What a hub had written
and died before it could commit is known then too, as if its answer had been lost on the way.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fleetloop.core.clock import Clock
from fleetloop.core.disk import Disk, alone
from fleetloop.core.episode import Episode
from fleetloop.core.errors import DiskTrouble, EpisodeInvalid, FleetLoopError, ReleaseInvalid
from fleetloop.core.hub import EDGE, STABLE, LearnerLease
from fleetloop.core.release import Release
from fleetloop.core.validation import validate
from fleetloop.hub.admission import episode_object
from fleetloop.hub.catalog.catalog import CATALOG, Catalog, Records
from fleetloop.hub.catalog.copying import copy_catalog
from fleetloop.hub.catalog.database import said
from fleetloop.hub.catalog.place import holds_catalog, place_of, sole_hub
from fleetloop.hub.catalog.rows import catalog_row
from fleetloop.hub.comparison import catalog_before, differences, tokens_of
from fleetloop.hub.experience import holding, quarantine_object
from fleetloop.hub.options import LOCK, HubOptions
from fleetloop.hub.releases.collector import collecting
from fleetloop.hub.releases.helm import OBJECT as STEERING
from fleetloop.hub.releases.helm import existing
from fleetloop.hub.releases.releases import BLOBS, LEARNER, channel_object, manifest_key
from fleetloop.hub.storage.objects import ObjectStore, hash_of
from fleetloop.hub.storage.stores import open_store
from fleetloop.weights.route import NOTHING, route

BESIDE = ("", "-wal", "-shm")  # the files of a SQLite database


@dataclass(frozen=True)
class Rebuilt:
    """Attributes:
    kept: where the catalog that was there lies now; None if there was none.
    damaged: objects that are not as they were, or were left out, and why; and releases that robots can't be sent to.
    unheard_of: episodes whose object was there and whose event was not; they come last.
    different: what the catalog that was there said otherwise, a line each; None if it could not be read.
    """

    episodes: int = 0
    annotations: int = 0
    releases: int = 0
    kept: Path | None = None
    damaged: tuple[str, ...] = ()
    unheard_of: tuple[str, ...] = ()
    different: tuple[str, ...] | None = None


def rebuild(options: HubOptions, clock: Clock, disk: Disk) -> Rebuilt:
    """Put the catalog that is there aside, make a new one from the objects, and compare the two.

    Every episode is read and checked.

    Raises:
        DiskTrouble: if a hub runs on the directory or its database, or one of them can't be written.
        ConfigInvalid, HubUnavailable: if the store can't be used.
    """
    directory = options.directory
    disk.make(directory)
    place, remedy = place_of(options), "stop it first"
    with alone(directory / LOCK, str(directory), "belongs to a running hub", remedy), sole_hub(place, remedy):
        objects = open_store(options, disk)
        building, built = directory / f"{CATALOG}.building", directory / f"{CATALOG}.built"
        if built.exists() and not (directory / CATALOG).exists():
            _put_back(directory, disk)  # one was killed before it could put its own in the place of what was there
        for leftover in (building, built):
            _forget(leftover, disk)
        catalog, damaged = Catalog(building), list[str]()
        # Before there was a database, the directory had the file.
        former = place if holds_catalog(place) else directory / CATALOG
        with catalog_before(former) as before:
            with catalog.writing() as records:
                found = _fill(records, objects, clock, damaged)
                releases = _fill_releases(records, objects, damaged, follows_edge=options.stable_follows_edge)
                for token in tokens_of(before):
                    records.members.add_token(**token)
                # Above every fence that was ever counted.
                records.set_lease(LEARNER, LearnerLease("", int(clock.wall()), 0.0))
            different = differences(before, catalog)
            kept = None if isinstance(former, Path) else _copied_aside(before, different, former, directory)
        if not isinstance(place, Path):
            copy_catalog(catalog, place)
        catalog.close()
        disk.rename(building, built)
        if isinstance(former, Path):
            kept = _put_aside(directory, disk)
        if isinstance(place, Path):
            disk.rename(built, place)
        else:
            _forget(built, disk)
    damaged = list(dict.fromkeys(damaged))
    return replace(found, releases=releases, kept=kept, different=different, damaged=tuple(damaged))


def _fill(records: Records, objects: ObjectStore, clock: Clock, damaged: list[str]) -> Rebuilt:
    known, early = set[tuple[str, str]](), list[tuple[str, Mapping[str, Any]]]()
    # `early`: what was said of an episode whose own event a power cut took.
    names = objects.names("events")  # read twice: a million of them need not fit into memory
    read = (_read(objects, name, []) for name in names)
    buried = {event["ref"] for event in read if event and event["kind"] == "tombstone"}
    for name in names:
        if (event := _read(objects, name, damaged)) is None:
            continue
        what = event["kind"], event["ref"]
        if what in known:  # a hub died over this number, and what it was for came again under an earlier one
            damaged.append(f"{name}: is the {event['kind']} {event['ref']} once more")
        elif event["kind"] != "episode" and ("episode", event["data"]["episode"]) not in known:
            early.append((name, event))
        else:
            damaged += _add(records, objects, event, int(Path(name).stem), buried=buried)
            known.add(what)
    unheard_of = [id for name in objects.names("episodes") if ("episode", id := Path(name).stem) not in known]
    given = max((int(Path(name).stem) for name in names), default=0)
    unheard_of = [id for id in unheard_of if _add_unheard_of(records, objects, id, clock, damaged, above=given)]
    for name, event in early:
        if event["data"]["episode"] in unheard_of:
            damaged += _add(records, objects, event, int(Path(name).stem), buried=buried)
            known.add((event["kind"], event["ref"]))
        else:
            damaged.append(f"{name}: is about {event['data']['episode']}, which is not there")
    kinds = Counter(kind for kind, _ in known)
    return Rebuilt(kinds["episode"] + len(unheard_of), kinds["annotation"], unheard_of=tuple(unheard_of))


def _add(
    records: Records,
    objects: ObjectStore,
    event: Mapping[str, Any],
    seq: int,
    *,
    buried: Collection[str],
) -> list[str]:
    """Take an event in; returns what is wrong with its object. An episode that is damaged or gone is known all the
    same: what was said of it holds when it comes again."""
    kind, ref, data = event["kind"], event["ref"], event["data"]
    if kind == "episode":
        removed = ref in buried and objects.size(episode_object(ref)) is None
        records.add_episode(data, seq)
        if removed or not (problem := _problem(objects, ref, data["hash"])):
            return []
        if objects.size(episode_object(ref)) is not None:  # so that the hub takes it anew from whoever has it still
            objects.move(episode_object(ref), quarantine_object(ref))
        return [f"{episode_object(ref)}: {problem}"]
    id = data["episode"]
    if kind == "tombstone":
        records.add_tombstone(id, data, seq, object_there=objects.size(episode_object(id)) is not None)
        return []
    records.add_annotation(ref, id, data, seq)
    records.judge_episode(id, **holding(records, id))
    return []


def _read(objects: ObjectStore, name: str, damaged: list[str]) -> Any:
    """What a JSON object says; None, and a line in `damaged`, if it can't be read."""
    try:
        return json.loads(b"".join(objects.read(name)))
    except ValueError as error:
        damaged.append(f"{name}: is no JSON ({error})")
        return None


def _problem(objects: ObjectStore, id: str, hash: str) -> str:
    """Why an episode's object is not what its event says; empty if it is."""
    if objects.size(episode_object(id)) is None:
        return "is gone"
    found = hash_of(objects.read(episode_object(id)))
    return "" if found == hash else f"hashes to {found}, not to {hash}"


def _add_unheard_of(
    records: Records, objects: ObjectStore, id: str, clock: Clock, damaged: list[str], *, above: int
) -> bool:
    """Take in an episode that has no event; it gets a number `above` all that were given out."""
    if any(line.startswith(episode_object(id)) for line in damaged):
        return False
    data = b"".join(objects.read(episode_object(id)))
    try:
        episode = Episode.from_bytes(data)
        validate(episode)
        if episode.meta.id != id or episode.meta.ending is None:
            raise EpisodeInvalid("id", f"the file says {episode.meta.id}")
    except FleetLoopError as error:
        damaged.append(f"{episode_object(id)}: {error}")
        return False
    hash, arrived = hash_of([data]), float(episode.column("clock_s")[-1]) if len(episode) else 0.0
    row = catalog_row(
        episode, hash=hash, size=len(data), received_clock_s=arrived, received_wall_s=clock.wall(), edge=0
    )
    records.add_episode(row, max(above, records.newest_event()) + 1)
    return True


def _fill_releases(records: Records, objects: ObjectStore, damaged: list[str], *, follows_edge: bool) -> int:
    newest, count, undecided = 0, 0, set(collecting(objects))
    blobs = {Path(name).name for name in objects.names(BLOBS)}
    for name in objects.names("releases"):
        if (manifest := _read(objects, name, damaged)) is None:
            continue
        try:
            release = Release.from_json(manifest)
        except ReleaseInvalid as error:
            damaged.append(f"{name}: {error}")
            continue
        if release.version in undecided:  # the hub died over it: its weights are there yet
            release = replace(release, collected_wall_s=0.0)
        missing = {blob.hash for blob in release.blobs} - blobs
        if missing and not release.collected_wall_s:
            damaged.append(f"{name}: {len(missing)} of its blobs are gone, {min(missing)} for one")
        records.add_release(release.version, manifest_key(release), release.to_json())
        newest, count = max(newest, release.version), count + 1
    stable, promoted = newest if follows_edge else 0, channel_object(STABLE)
    if objects.size(promoted) is not None:
        said = _read(objects, promoted, damaged)
        # Where it follows edge and nobody holds it, a later release has moved it on.
        if said and (not follows_edge or said["newest"] == newest or said.get("held")):
            stable = said["version"]
    for channel, version in ((EDGE, newest), (STABLE, stable)):
        if reachable := _newest_reachable(records, version, blobs):
            records.move_channel(channel, reachable)
    if objects.size(STEERING) is not None and (steering := _read(objects, STEERING, damaged)):
        records.standings.steer(steering)
    return count


def _newest_reachable(records: Records, most: int, blobs: Collection[str]) -> int:
    """The newest release up to `most` that a robot which has nothing can fetch; 0 if there is none."""

    def left(version: int) -> Release:
        """As far as it is there: what one encoding lacks, another may not need."""
        release = existing(records, version)
        whole = (item for item in release.encodings if all(blob.hash in blobs for blob in item.blobs))
        return replace(release, encodings=tuple(whole))

    versions = (version for version in reversed(records.versions()) if version <= most)
    return next((version for version in versions if route(left(version), left, NOTHING, {})), 0)


def _copied_aside(before: Catalog | None, different: tuple[str, ...] | None, place: sa.URL, directory: Path) -> Path:
    """What a database holds can't be renamed as a file can: it is replaced only where it could be read and kept."""
    if before is None or different is None:
        remedy = "name another, empty one in hub.catalog; tokens must then be issued anew"
        raise DiskTrouble(said(place), "holds a catalog that can't be read, and so not be kept", remedy)
    kept = _free_name(directory)
    copy_catalog(before, kept)
    return kept


def _put_aside(directory: Path, disk: Disk) -> Path | None:
    path = directory / CATALOG
    if not path.exists():
        _forget(path, disk)
        return None
    kept = _free_name(directory)
    for suffix in BESIDE:
        if (source := path.with_name(path.name + suffix)).exists():
            disk.rename(source, kept.with_name(kept.name + suffix))
    return kept


def _put_back(directory: Path, disk: Disk) -> None:
    """Take back what was put aside last. Its own name comes last, so that this can be begun again."""
    if not (numbers := _aside(directory)):
        return
    path, kept = directory / CATALOG, directory / f"{CATALOG}.before-{numbers[-1]}"
    for suffix in reversed(BESIDE):
        if (source := kept.with_name(kept.name + suffix)).exists():
            disk.rename(source, path.with_name(path.name + suffix))


def _free_name(directory: Path) -> Path:
    return directory / f"{CATALOG}.before-{max(_aside(directory), default=0) + 1}"


def _aside(directory: Path) -> list[int]:
    """The numbers of what was put aside, in order."""
    ends = (path.name.rpartition("-")[2] for path in directory.glob(f"{CATALOG}.before-*"))
    return sorted(int(end) for end in ends if end.isdecimal())


def _forget(path: Path, disk: Disk) -> None:
    for suffix in BESIDE:
        disk.remove(path.with_name(path.name + suffix))
