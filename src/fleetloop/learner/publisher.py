"""Releases: a copy of the averaged weights at a step, encoded, uploaded and published without the loop waiting for it.

Latest wins: while one release is under way a single newer one waits, and a still newer one takes its place.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import numpy as np

from fleetloop.core.clock import Clock
from fleetloop.core.errors import HubRefused, HubUnavailable, LeaseLost, ReleaseInvalid
from fleetloop.core.hub import Hub, LearnerLease, LearnerOrders, LearnerStatus
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.learner.errors import RESTORED, CheckpointInvalid
from fleetloop.learner.holder import Holder
from fleetloop.learner.latest import Latest
from fleetloop.weights.codec import Put, Weights
from fleetloop.weights.ladder import Ladder
from fleetloop.weights.signature import Signer
from fleetloop.weights.verified import Known

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 10.0
LONGEST_RENEWAL_S = 10.0
REMEMBERED = 8


@dataclass(frozen=True)
class Identity:
    """What every release of a run has in common; the fields are those of `Release`."""

    run: str
    policy: Mapping[str, Any]
    spec: Mapping[str, Any]
    spec_hash: str
    config_hash: str
    statistics_hash: str
    conditions: tuple[str, ...]
    condition: str


@dataclass(frozen=True)
class Snapshot:
    """The averaged weights at a step, and what experience and held-out loss they stand for (see `Release`)."""

    step: int
    trained_through: int
    covers: tuple[str, ...]
    weights: Weights
    held_out: Mapping[str, float] = field(default_factory=dict)


class Publisher:
    """Publishes under the learner's lease. `offer` belongs to the training loop, `work` to whoever may wait.

    Attributes:
        alarm: why the newest weights are not out yet; empty if they are.
    """

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        identity: Identity,
        holder: Holder,
        parent: int = 0,
        *,
        signer: Signer | None = None,
        ladder: Ladder | None = None,
        told: Callable[[LearnerOrders], None] = lambda orders: None,
    ) -> None:
        """Without a `signer` releases are not signed. `ladder`: how they are encoded, if not as `Ladder()` says.

        `told` hears what the hub answers to a report.
        """
        self.alarm, self._signer, self._told = "", signer, told
        self._hub, self._clock, self._identity, self._holder, self._parent = hub, clock, identity, holder, parent
        self._pending: Latest[Snapshot] = Latest()
        self._reports: Latest[LearnerStatus] = Latest()
        self._published: deque[Release] = deque()
        self._recent: deque[frozenset[str]] = deque(maxlen=REMEMBERED)
        self._lease: LearnerLease | None = None
        self._unsure: Release | None = None
        self._ladder, self._offered = ladder or Ladder(), Known({}, (), "")
        self._renew_at = self._not_before = 0.0
        self._failures, self._unfit = 0, ""
        self._jitter = np.random.default_rng()

    def check_parent(self) -> None:
        """Raises CheckpointInvalid where the hub does not know the release that the next one is to follow;
        HubUnavailable."""
        try:
            if self._parent:
                self._hub.release(self._parent)
        except HubRefused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            problem = f"is {self._parent}, and the hub has none of that number"
            raise CheckpointInvalid("release", problem, RESTORED) from error

    def offer(self, snapshot: Snapshot) -> None:
        """Publish this as soon as possible, unless something newer is offered first."""
        self._pending.offer(snapshot)

    def report(self, status: LearnerStatus) -> None:
        """Tell the hub this, unless something newer is told first."""
        self._reports.offer(status)

    def take_published(self) -> list[Release]:
        """The releases that went out since the last call."""
        taken = []
        while self._published:
            taken.append(self._published.popleft())
        return taken

    def work(self, now: float, wait_s: float = 0.0) -> None:
        """Claim or renew the lease, publish and report what is due. Waits up to `wait_s` real seconds for a snapshot.

        While the hub is away the snapshot is kept, and tried again after a growing, jittered pause.

        Raises:
            LeaseLost: another learner publishes now; this one must stop.
            HubRefused: the hub does not accept the release, or `holder` says no.
        """
        if now < self._not_before:
            return
        try:
            self._hold_lease(now)
            self._tell()
            self._publish(wait_s)
        except HubUnavailable as error:
            self._failures += 1
            pause = min(LONGEST_PAUSE_S, 0.25 * 2**self._failures)
            self._not_before = now + pause * (0.5 + 0.5 * self._jitter.random())
            self.alarm = f"the newest weights are not out: {error}"
        else:
            self._failures, self.alarm = 0, self._unfit

    def _hold_lease(self, now: float) -> None:
        if self._lease is not None and now < self._renew_at:
            return
        if self._lease is None:
            self._holder.check(self._hub)
            self._lease = self._hub.claim_lease(self._holder.name)
            self._holder.claimed()
        else:
            self._lease = self._hub.renew_lease(self._lease)
        self._renew_at = now + min(LONGEST_RENEWAL_S, max(1.0, (self._lease.until - now) / 3))

    def _tell(self) -> None:
        status = self._reports.take()
        if status is not None:
            self._told(self._hub.report_learner(status))

    def _publish(self, wait_s: float) -> None:
        # A lost answer leaves it open whether the hub took the manifest; the same one again is the same release.
        if self._unsure is not None:
            self._finish(self._unsure)
        snapshot = self._pending.take(wait_s)
        if snapshot is None:
            return
        self._unfit = _unfit(snapshot)
        if self._unfit:
            return
        try:
            manifest = self._signed(self._upload(snapshot))
        except HubUnavailable:
            self._pending.give_back(snapshot)
            raise
        self._finish(manifest)

    def _finish(self, manifest: Release) -> None:
        assert self._lease is not None
        self._unsure = manifest
        release = self._hub.publish(manifest, self._lease)
        self._unsure = None
        self._parent = release.version
        self._ladder.keep(release.version, self._offered)
        self._recent.append(frozenset(release.covers))
        self._published.append(release)

    def _upload(self, snapshot: Snapshot) -> Release:
        """Put the blobs, and return the manifest that is still to be published."""
        self._offered = Known.of(snapshot.weights)
        encoded = self._ladder.encode(self._offered, self._parent + 1, self._put_for)
        told = frozenset().union(*self._recent)
        return Release(
            **vars(self._identity),
            step=snapshot.step,
            parent=self._parent,
            trained_through=snapshot.trained_through,
            covers=tuple(episode for episode in snapshot.covers if episode not in told),
            tensors=self._offered.tensors,
            encodings=tuple(way.encoding(base) for base, way in encoded),
            result_hash=self._offered.result_hash,
            clock_s=self._clock.now(),
            held_out=snapshot.held_out,
        )

    def _put_for(self, base: int, codec: str) -> Put:
        """Puts blobs, and tells robots that have the newest release, and can use these, that they are there."""
        if base == 0 or base != self._parent:
            return self._hub.put_blob
        blobs = list[BlobEntry]()

        def put(hash: str, data: bytes) -> None:
            self._hub.put_blob(hash, data)
            blobs.append(BlobEntry(hash, len(data)))
            if len(blobs) > 1:  # what fits into one blob is there as soon as its manifest
                self._draft(Encoding(codec, base, tuple(blobs)))

        return put

    def _draft(self, draft: Encoding) -> None:
        assert self._lease is not None
        try:
            self._hub.draft(draft, self._lease)
        except LeaseLost:
            raise
        except (HubRefused, ReleaseInvalid) as error:  # it would only have been sooner
            log.warning("the hub takes no draft: %s", error)

    def _signed(self, manifest: Release) -> Release:
        return self._signer.sign(manifest) if self._signer else manifest


def _unfit(snapshot: Snapshot) -> str:
    """Why no robot may ever get these weights; empty if they may."""
    said = f"the weights of step {snapshot.step} were not published"
    for name, array in snapshot.weights.items():
        if array.dtype.kind not in "iub" and not np.isfinite(array).all():
            return f"{said}: {name} holds numbers that are not finite"
    for task, loss in snapshot.held_out.items():
        if not np.isfinite(loss):
            return f"{said}: their held-out loss on {task} is {loss}"
    return ""
