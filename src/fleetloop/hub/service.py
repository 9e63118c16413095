"""The hub itself: every call of core's Hub, as plain synchronous logic over a catalog, an object store and a clock."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from fleetloop.core.clock import Clock
from fleetloop.core.disk import Disk
from fleetloop.core.errors import DiskTrouble, EpisodeInvalid
from fleetloop.core.hub import (
    Acknowledgement,
    Event,
    Fleet,
    LearnerLease,
    LearnerOrders,
    LearnerStatus,
    Orders,
    Registration,
    RobotStatus,
    never,
)
from fleetloop.core.outcome import Annotation
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.core.steering import Steering, Tally
from fleetloop.hub.catalog.catalog import Catalog
from fleetloop.hub.catalog.migrations import bring_up_to_date
from fleetloop.hub.catalog.place import holds_catalog, place_of
from fleetloop.hub.experience import Experience
from fleetloop.hub.fleet import FleetBook
from fleetloop.hub.options import HubOptions
from fleetloop.hub.releases.collector import Collector
from fleetloop.hub.releases.releases import Releases
from fleetloop.hub.retention import Retention
from fleetloop.hub.storage.objects import ObjectStore, copy_verified
from fleetloop.hub.storage.stores import open_store
from fleetloop.hub.tokens import Tokens
from fleetloop.hub.uploads import Uploads


class HubService:
    """Implements `core.hub.Hub` in this process. Safe to call from several threads.

    Beside the typed refusals of the Hub protocol its calls raise HubUnavailable when disk or database fail.
    """

    def __init__(
        self, catalog: Catalog, objects: ObjectStore, clock: Clock, options: HubOptions, tasks: Collection[str] = ()
    ) -> None:
        """`tasks` are the ones that the fleet works at; any will do if there are none."""
        self._catalog, self._learner_lease_s = catalog, options.learner_lease_s
        self.tokens = Tokens(catalog, clock)
        self.experience = Experience(catalog, objects, clock, tasks=tasks, max_bytes=options.max_episode_bytes)
        self.uploads = Uploads(
            self.experience,
            objects,
            clock,
            max_bytes=options.max_episode_bytes,
            keep_s=options.keep_uploads_wall_s,
        )
        self.publishing = Releases(
            catalog,
            objects,
            clock,
            lease_s=options.learner_lease_s,
            stable_follows_edge=options.stable_follows_edge,
            max_bytes=options.max_blob_bytes,
        )
        self.book = FleetBook(
            catalog,
            clock,
            tasks=tasks,
            policy=self.publishing.policy_spec,
            steering=lambda: self.publishing.helm.steering,
            silent_s=options.silent_s,
            beats_per_s=options.beats_per_s,
            attention=options.attention,
        )

        self.retention = Retention(
            catalog,
            objects,
            clock,
            options.retention,
            news=self.experience.news,
            learner_checkpoint=self.book.learner_checkpoint,
        )
        self.collector = Collector(
            catalog, objects, clock, options.releases, publishing=self.publishing, running=self.book.running
        )

    @classmethod
    def open(cls, options: HubOptions, clock: Clock, disk: Disk, tasks: Collection[str] = ()) -> "HubService":
        """The hub of `options.directory`, new or as it was left; an older version's catalog is brought up to date.

        One process at a time may open it.

        Raises:
            DiskTrouble: if the directory can't be used, its catalog is of a newer layout, or gone from its objects.
            ConfigInvalid, HubUnavailable: if the store can't.
        """
        disk.make(options.directory)
        objects = open_store(options, disk)
        place = place_of(options)
        if not holds_catalog(place):
            _check_new(options, objects)
        bring_up_to_date(place)
        catalog = Catalog(place)
        catalog.take_over()
        return cls(catalog, objects, clock, options, tasks)

    def close(self) -> None:
        self._catalog.close()

    def keep_house(self, now: float) -> float:
        """Let go what is not to be kept, as far as that is due at `now` (clock seconds); returns when to call again.

        What can't be done is an alarm, and is tried again.
        """
        return min(part.step(now) for part in (self.uploads, self.retention, self.collector, self.publishing.drafts))

    # ------------------------------------------------------------------ experience

    def put_episode(self, id: str, path: Path, hash: str, *, gives_way: Callable[[], bool] = never) -> Acknowledgement:
        return self.experience.put(id, path, hash)

    def get_episode(self, id: str, path: Path) -> None:
        chunks, hash = self.experience.read(id)
        try:
            copy_verified(chunks, path, hash)
        except EpisodeInvalid:
            self.experience.check(id)
            raise

    def episodes(self, *, task: str = "", outcome: str = "", limit: int = 1000) -> Sequence[Mapping[str, Any]]:
        return self.experience.list(task=task, outcome=outcome, limit=limit)

    def annotate(self, annotation: Annotation) -> int:
        return self.experience.annotate(annotation)

    def annotations(self, episode: str) -> Sequence[Annotation]:
        return self.experience.annotations(episode)

    def events(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> Sequence[Event]:
        return self.experience.news.first(lambda: self.experience.events(after, limit), wait_s)

    # ------------------------------------------------------------------ releases

    def claim_lease(self, holder: str) -> LearnerLease:
        return self.publishing.claim_lease(holder)

    def renew_lease(self, lease: LearnerLease) -> LearnerLease:
        return self.publishing.renew_lease(lease)

    def put_blob(self, hash: str, data: bytes) -> None:
        self.publishing.put_blob(hash, data)

    def get_blob(self, blob: BlobEntry) -> bytes:
        return self.publishing.read_blob(blob.hash)

    def fetch_blob(self, blob: BlobEntry, file: BinaryIO, *, gives_way: Callable[[], bool] = never) -> None:
        file.write(self.publishing.read_blob(blob.hash)[file.tell() :])

    def draft(self, draft: Encoding, lease: LearnerLease) -> None:
        self.publishing.draft(draft, lease)

    def publish(self, release: Release, lease: LearnerLease) -> Release:
        return self.publishing.publish(release, lease)

    def steering(self) -> Steering:
        return self.publishing.helm.steering

    def promote(self, version: int) -> Steering:
        """Move `stable` to a release, and end a hold."""
        return self.publishing.helm.promote(version)

    def roll_back(self, version: int = 0, *, reset_learner: bool = False) -> Steering:
        """Move `stable` back and hold it; without a version to where it was before.

        With `reset_learner` the learner is told to go on from that release's checkpoint.
        """
        return self.publishing.helm.roll_back(version, reset_learner=reset_learner)

    def hold(self) -> Steering:
        """Keep `stable` where it is until it is promoted, or `resume` is called."""
        return self.publishing.helm.hold()

    def resume(self) -> Steering:
        """End a hold."""
        return self.publishing.helm.resume()

    def pin(self, robot: str, version: int) -> Steering:
        """Have a robot run this release whatever `stable` is; 0: no longer."""
        self.book.check_known(robot)
        return self.publishing.helm.pin(robot, version)

    def forget(self, robot: str) -> None:
        """Take a robot that is gone for good out of the fleet's view, and end its pin; its episodes stay."""
        self.book.check_gone(robot)
        if robot in self.publishing.helm.steering.pins:
            self.publishing.helm.pin(robot, 0)
        self.book.forget(robot)

    def tallies(self, after: int = 0, purpose: str = "online") -> Sequence[Tally]:
        """How robots did, by release; only in this purpose's episodes with seq > after."""
        return self.publishing.tallies(after, purpose)

    def release(self, version: int) -> Release:
        return self.publishing.release(version)

    def releases(self, *, limit: int = 1000) -> Sequence[Release]:
        return self.publishing.releases(limit)

    def channel(self, name: str, *, after: int = 0, wait_s: float = 0.0) -> Release | None:
        return self.publishing.news.first(lambda: self.publishing.channel(name, after), wait_s)

    def coming(self, name: str, *, after: int = 0, blobs: int = 0, wait_s: float = 0.0) -> Release | Encoding | None:
        return self.publishing.drafts.news.first(lambda: self.publishing.coming(name, after, blobs), wait_s)

    # ------------------------------------------------------------------ fleet

    def register(self, registration: Registration) -> None:
        self.book.register(registration)

    def beat(self, statuses: Sequence[RobotStatus]) -> Sequence[Orders]:
        return self.book.beat(statuses)

    def report_learner(self, status: LearnerStatus) -> LearnerOrders:
        self.book.report_learner(status)
        return self.publishing.helm.answered(status.answered)

    def fleet(self) -> Fleet:
        parts = (self.uploads, self.retention, self.collector, self.book)
        view = self.book.view()
        silent_s = view.learner_silent_s if view.learner else 0.0
        silent = f"learner: not heard for {silent_s:.0f} s" if silent_s > self._learner_lease_s else ""
        alarms = (self.experience.alarm, *(part.alarms.text for part in parts), silent)
        return replace(view, alarm="; ".join(filter(None, alarms)))


def _check_new(options: HubOptions, objects: ObjectStore) -> None:
    """A hub that begins at 1 again would replace what its catalog can be made from, name by name."""
    if objects.names("events") or objects.names("releases"):
        place = options.store or str(options.directory)
        raise DiskTrouble(place, "holds an earlier hub's objects and no catalog", "run `fleetloop hub rebuild`")
