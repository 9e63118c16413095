"""Releases out: the learner's lease, blobs, manifests and the channels that point to them."""

import json
import string
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from blake3 import blake3

from fleetloop.core.clock import Clock
from fleetloop.core.errors import HubRefused, LeaseLost, ReleaseInvalid
from fleetloop.core.hub import EDGE, STABLE, LearnerLease
from fleetloop.core.release import Encoding, Release
from fleetloop.core.spec import PolicySpec
from fleetloop.core.steering import Tally
from fleetloop.hub.bell import Bell
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.experience import check_limit
from fleetloop.hub.releases.drafts import Drafts
from fleetloop.hub.releases.helm import Helm, existing
from fleetloop.hub.releases.shelf import Shelf
from fleetloop.hub.storage.objects import Incoming, Link, ObjectStore
from fleetloop.weights.codec import CODECS, result_hash
from fleetloop.weights.route import NOTHING, route
from fleetloop.weights.streams import check

BLOBS = "blobs"
CHANNELS = (EDGE, STABLE)
LEARNER = "learner"


class Releases:
    """What has been published, and who may publish. Safe to call from several threads.

    Attributes:
        news: rung when a channel moved.
        drafts: what is not published yet; their bell is rung with `news` too.
        helm: where `stable` and the robots are steered.
        shelf: blobs that a fleet fetches now, in memory.
        turn: held while a manifest is taken in; whoever removes blobs holds it too, so that none goes in between.
    """

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore,
        clock: Clock,
        *,
        lease_s: float,
        stable_follows_edge: bool,
        max_bytes: int,
    ) -> None:
        self.news, self.turn, self.shelf, self.drafts = Bell(), Lock(), Shelf(), Drafts(clock)
        self.news.listen(self.shelf.clear)
        self.news.listen(self.drafts.news.ring)
        self._catalog, self._objects, self._clock = catalog, objects, clock
        self._lease_s, self._max_bytes = lease_s, max_bytes
        self._follows = stable_follows_edge
        self.helm = Helm(catalog, objects, self.news, follows_edge=stable_follows_edge)
        self._spec: PolicySpec | None = None
        with catalog.writing() as records:  # a clock that restarted must not leave a lease that never runs out
            if lease := records.lease(LEARNER):
                until = min(lease.until, clock.now() + lease_s)
                records.set_lease(LEARNER, LearnerLease(lease.holder, lease.fence, until))
            for manifest in records.releases(limit=1):
                self._spec = Release.from_json(manifest).policy_spec()

    # ------------------------------------------------------------------ the learner's lease

    def claim_lease(self, holder: str) -> LearnerLease:
        """A new fence for `holder`; refused while another's lease runs."""
        if not holder:
            raise HubRefused("holder", "is empty", "name the learner")
        now = self._clock.now()
        with self._catalog.writing() as records:
            held = records.lease(LEARNER)
            if held and held.holder != holder and held.until > now:
                raise LeaseLost(
                    "lease",
                    f"{held.holder!r} is the learner for {held.until - now:.0f} s yet",
                    "stop that learner first, or wait until its lease has run out",
                    status=409,
                )
            lease = LearnerLease(holder, (held.fence if held else 0) + 1, now + self._lease_s)
            records.set_lease(LEARNER, lease)
        self.drafts.end()
        return lease

    def renew_lease(self, lease: LearnerLease) -> LearnerLease:
        with self._catalog.writing() as records:
            _check_fence(records, lease)
            renewed = LearnerLease(lease.holder, lease.fence, self._clock.now() + self._lease_s)
            records.set_lease(LEARNER, renewed)
            return renewed

    # ------------------------------------------------------------------ blobs

    def incoming(self) -> Incoming:
        """Where a blob's bytes may be written as they arrive."""
        return self._objects.incoming(self._max_bytes)

    def put_blob(self, hash: str, data: bytes) -> None:
        with self.incoming() as incoming:
            incoming.write(data)
            self.accept_blob(hash, incoming)

    def accept_blob(self, hash: str, incoming: Incoming) -> None:
        """Keep what has arrived if it has the hash. The same blob again is as young as if it were new."""
        arrived = incoming.finish()
        if arrived.hash != hash:
            problem = f"the bytes that came hash to {arrived.hash}, not to {hash}"
            raise ReleaseInvalid("hash", problem, "send the blob again")
        self._objects.replace(arrived, blob_object(hash))
        self._objects.settle(blob_object(hash))

    def read_blob(self, hash: str) -> bytes:
        self.locate_blob(hash)
        return b"".join(self._objects.read(blob_object(hash)))

    def find_blob(self, hash: str) -> bytes | Path | Link:
        """Its bytes, if the shelf has room for them; else as `locate_blob`."""
        found = self.locate_blob(hash)
        if isinstance(found, Link):
            return found
        return self.shelf.take(hash, found) or found

    def locate_blob(self, hash: str) -> Path | Link:
        if not _is_hash(hash) or self._objects.size(blob_object(hash)) is None:
            raise HubRefused("blob", f"{hash!r} is not here", "put the blob before the manifest", status=404)
        return self._objects.locate(blob_object(hash))

    # ------------------------------------------------------------------ releases

    def draft(self, draft: Encoding, lease: LearnerLease) -> None:
        """Tell those who have its base of blobs that are here. Raises LeaseLost, or ReleaseInvalid naming the blob."""
        with self._catalog.reading() as records:
            _check_fence(records, lease)
        if draft.codec not in CODECS:
            raise ReleaseInvalid("codec", f"is {draft.codec!r}", f"this version reads {', '.join(CODECS)}")
        for entry in self.drafts.new(draft):
            if not _is_hash(entry.hash):
                raise ReleaseInvalid("draft", f"{entry.hash!r} is no blake3 in hexadecimal")
            self._check_blob(entry.hash, entry.size)
        self.drafts.set(draft)

    def publish(self, release: Release, lease: LearnerLease) -> Release:
        """Number a release and move the channels. The same manifest again is the same release.

        Raises:
            LeaseLost: the fence is not the newest one.
            ReleaseInvalid: naming the field of the manifest, or the missing blob.
        """
        check_manifest(release)
        with self.turn:
            for entry in release.blobs:
                self._check_blob(entry.hash, entry.size)
            numbered = self._number(release, lease)
        self._spec = numbered.policy_spec()
        self.drafts.end()
        self.news.ring()
        return numbered

    def _number(self, release: Release, lease: LearnerLease) -> Release:
        key = manifest_key(release)
        with self._catalog.writing() as records:
            _check_fence(records, lease)
            if known := records.release_by_key(key):
                return Release.from_json(known)
            _check_lineage(records, release)
            numbered = release.numbered(records.newest_version() + 1)
            manifest = json.dumps(numbered.to_json())
            self._objects.put(release_object(numbered.version), manifest.encode())
            numbered = Release.from_json(json.loads(manifest))  # what everybody else will read
            records.add_release(numbered.version, key, numbered.to_json())
            records.move_channel(EDGE, numbered.version)
            if self._follows and not records.standings.steering().held:
                records.move_channel(STABLE, numbered.version)
        return numbered

    def release(self, version: int) -> Release:
        with self._catalog.reading() as records:
            return existing(records, version)

    def releases(self, limit: int) -> Sequence[Release]:
        check_limit(limit)
        with self._catalog.reading() as records:
            return [Release.from_json(manifest) for manifest in records.releases(limit)]

    def channel(self, name: str, after: int) -> Release | None:
        """The channel's release, unless it is version `after`."""
        if name not in CHANNELS:
            raise HubRefused("channel", f"{name!r} does not exist", f"use one of {', '.join(CHANNELS)}", status=404)
        with self._catalog.reading() as records:
            version = records.channel(name)
            return None if version in (0, after) else existing(records, version)

    def coming(self, name: str, after: int, blobs: int) -> Release | Encoding | None:
        """As `channel`; else the draft on top of `after` if it has more than so many blobs, and the channel follows."""
        follows = name == EDGE or (self._follows and not self.helm.steering.held)
        return self.channel(name, after) or (self.drafts.beyond(after, blobs) if follows else None)

    def tallies(self, after: int = 0, purpose: str = "online") -> Sequence[Tally]:
        """How robots did, by release, since an event."""
        with self._catalog.reading() as records:
            return records.standings.tallies(after, purpose)

    def policy_spec(self) -> PolicySpec | None:
        """What the newest release asks of a robot; None before the first."""
        return self._spec

    def _check_blob(self, hash: str, size: int) -> None:
        found = self._objects.size(blob_object(hash))
        if found is None:
            raise ReleaseInvalid("blobs", f"{hash} is not here", "put the blobs before the manifest")
        if found != size:
            raise ReleaseInvalid("blobs", f"{hash} has {found} bytes; the manifest says {size}")


def manifest_key(release: Release) -> str:
    """By which the same manifest is known again, whatever its number."""
    return blake3(json.dumps(release.numbered(0).to_json(), sort_keys=True).encode()).hexdigest()


def release_object(version: int) -> str:
    return f"releases/{version:08d}.json"


def channel_object(name: str) -> str:
    """Where the version that a person moved a channel to is kept."""
    return f"channels/{name}"


def check_manifest(release: Release) -> None:
    """Raise ReleaseInvalid for what can be told wrong from the manifest alone: no robot would take it."""
    if not release.run:
        raise ReleaseInvalid("run", "is empty")
    if not release.encodings or not all(encoding.blobs for encoding in release.encodings):
        raise ReleaseInvalid("encodings", "are none, or one has no blob", "a release has a way to be fetched")
    check(release.tensors)
    hashes = {"result_hash": release.result_hash, "spec_hash": release.spec_hash}
    hashes |= {f"tensor {entry.name}": entry.hash for entry in release.tensors}
    hashes |= {f"blob {number}": entry.hash for number, entry in enumerate(release.blobs)}
    for name, value in hashes.items():
        if not _is_hash(value):
            raise ReleaseInvalid(name, f"{value!r} is no blake3 in hexadecimal")
    if release.result_hash != result_hash(release.tensors):
        raise ReleaseInvalid("result_hash", "is not the hash of the tensors' hashes")
    if release.policy_spec().hash() != release.spec_hash:
        raise ReleaseInvalid("spec_hash", "does not belong to the spec in this manifest")


def _check_lineage(records: Records, release: Release) -> None:
    newest_version = records.newest_version()
    for name, version in (("parent", release.parent), *(("base", item.base) for item in release.encodings)):
        if not 0 <= version <= newest_version:
            raise ReleaseInvalid(name, f"there is no release {version}")
    following = release.numbered(newest_version + 1)
    if route(following, lambda version: existing(records, version), NOTHING, {}) is None:
        raise ReleaseInvalid("base", "leads to no release that can be fetched", "publish one that stands alone")
    newest = records.release(newest_version)
    if newest and newest["run"] != release.run:
        raise ReleaseInvalid(
            "run", f"is {release.run!r}, but this hub serves the run {newest['run']!r}", "give each run its own hub"
        )


def _check_fence(records: Records, lease: LearnerLease) -> None:
    held = records.lease(LEARNER)
    if held is None or (held.holder, held.fence) != (lease.holder, lease.fence):
        now = f"{held.holder!r} holds {held.fence}" if held else "nobody holds any"
        raise LeaseLost("fence", f"{lease.fence} of {lease.holder!r} is stale: {now}", "stop this learner", status=409)


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set(string.hexdigits.lower())


def blob_object(hash: str) -> str:
    return f"{BLOBS}/{hash}"
