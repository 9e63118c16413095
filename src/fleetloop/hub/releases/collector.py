"""Releases whose weights nobody needs any more: first they are marked as collected, later their bytes go.

The manifest stays, with the time of its collection: what has been published remains known. From then on no way leads
over the release, and nobody can be told to run it; who has begun to fetch it has the grace period to finish.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock
from fleetloop.core.errors import HubUnavailable
from fleetloop.core.hub import EDGE, STABLE
from fleetloop.core.release import Release
from fleetloop.core.steering import Steering
from fleetloop.hub.catalog.catalog import Catalog, Records
from fleetloop.hub.options import ReleasesOptions
from fleetloop.hub.releases.helm import existing
from fleetloop.hub.releases.needed import surplus
from fleetloop.hub.releases.releases import BLOBS, Releases, blob_object, release_object
from fleetloop.hub.storage.objects import ObjectStore

COLLECTING = "channels/collecting"
AT_ONCE = 64  # releases or blobs in one transaction or turn, which publications wait for
PART = "releases"


class Collector:
    """Advanced by `step`; keeps the weights that `hub.releases` and the fleet ask for.

    Args:
        running: the versions that robots run, or ran when they were last heard.

    Attributes:
        alarms: what keeps it from its work.
    """

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore,
        clock: Clock,
        options: ReleasesOptions,
        *,
        publishing: Releases,
        running: Callable[[], Collection[int]],
    ) -> None:
        self.alarms = Alarms()
        self._catalog, self._objects, self._clock, self._options = catalog, objects, clock, options
        self._publishing, self._running = publishing, running
        self._named: dict[int, frozenset[str]] = {}  # by version, its blobs
        self._settled = False
        self._due = clock.now() + options.every_s  # by then the robots have been heard

    def step(self, now: float) -> float:
        """Do what is due at `now` (clock seconds), at most AT_ONCE of each kind; returns when to call again."""
        if self._options.keep is None:
            return float("inf")
        if now < self._due:
            return self._due
        self._due = now + self._options.every_s
        try:
            worked = self.collect(self._options.keep) + self.free()
        except HubUnavailable as error:
            self.alarms.set(PART, str(error))
            return self._due
        self.alarms.clear(PART)
        if worked:
            self._due = now  # there may be more
        return self._due

    # ------------------------------------------------------------------ releases

    def collect(self, keep: int) -> int:
        """Mark the oldest of what is not needed; returns how many. Raises HubUnavailable."""
        self._settle()
        with self._catalog.reading() as records:
            seen, found = _state(records), surplus(records, self._running(), keep)[:AT_ONCE]
        if not found:
            return 0
        with self._catalog.writing() as records:
            if _state(records) != seen:  # something was published or steered meanwhile: other releases are needed
                return 0
            self._settled, now = False, self._clock.wall()
            self._objects.put(COLLECTING, json.dumps(found).encode())
            for version in found:
                self._mark(existing(records, version), now)
                records.collect_release(version, now)
        self._settle()
        return len(found)

    def _settle(self) -> None:
        """Take back the marks of a transaction that was not committed: what they are on may be needed by now."""
        if self._settled:
            return
        with self._catalog.reading() as records:
            found = [records.release(version) for version in collecting(self._objects)]
        for release in (Release.from_json(manifest) for manifest in found if manifest):
            if not release.collected_wall_s:
                self._mark(release, 0.0)
        self._objects.remove(COLLECTING)
        self._settled = True

    def _mark(self, release: Release, wall_s: float) -> None:
        marked = replace(release, collected_wall_s=wall_s)
        self._objects.put(release_object(release.version), json.dumps(marked.to_json()).encode())

    # ------------------------------------------------------------------ blobs

    def free(self) -> int:
        """Remove blobs that no release names whose weights are kept; returns how many. Raises HubUnavailable."""
        before = self._clock.wall() - self._options.grace_wall_s
        candidates = [Path(name).name for name in self._objects.names(BLOBS)]
        self._named_blobs(before)  # reads all manifests at first; publications need not wait for that
        with self._publishing.turn:
            named = self._named_blobs(before)
            removed = 0
            for hash in candidates:
                if removed < AT_ONCE and hash not in named and self._is_old(hash, before):
                    self._objects.remove(blob_object(hash))
                    removed += 1
        return removed

    def _named_blobs(self, before: float) -> set[str]:
        """By releases that are kept, or were collected after `before` (Unix time, s)."""
        with self._catalog.reading() as records:
            versions = records.versions(collected_since=before)
            for version in set(versions) - set(self._named):
                self._named[version] = frozenset(blob.hash for blob in existing(records, version).blobs)
        self._named = {version: self._named[version] for version in versions}
        return set().union(*self._named.values())

    def _is_old(self, hash: str, before: float) -> bool:
        """Whether it has lain there since `before`; a younger one may be on its way into a release."""
        modified = self._objects.modified(blob_object(hash))
        return modified is not None and modified < before


def collecting(objects: ObjectStore) -> Sequence[int]:
    """The releases whose mark was perhaps never committed."""
    if objects.size(COLLECTING) is None:
        return ()
    versions: Sequence[int] = json.loads(b"".join(objects.read(COLLECTING)))
    return versions


def _state(records: Records) -> tuple[int, int, int, Steering]:
    """By which it is told whether something was published or steered."""
    return records.newest_version(), records.channel(EDGE), records.channel(STABLE), records.standings.steering()
