"""From what a robot has to a release, over the encodings that releases carry: a graph, and the quickest way through it.

A node is a release, 0 is to have nothing; an encoding leads from its base to its release. Nobody replays history: the
way is looked for backwards from the release that is wanted, and manifests are asked for only where it leads.
"""

import heapq
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fleetloop.core.errors import HubRefused, ReleaseInvalid
from fleetloop.core.release import BlobEntry, Encoding, Release, TensorEntry
from fleetloop.weights.codec import checked, decode
from fleetloop.weights.errors import BaseMissing, BlobDamaged
from fleetloop.weights.streams import DTYPES, Weights
from fleetloop.weights.verified import Known

log = logging.getLogger(__name__)

NOTHING = 0
BYTES_PER_S = 12_500_000
"""Of a line that was not measured: 100 Mb/s."""
DECODED_PER_S = 800_000_000
"""Bytes of tensors. On a fast line many bytes and few hops are sooner there than few bytes and many hops."""


@dataclass(frozen=True)
class Hop:
    """One application of an encoding."""

    release: Release
    encoding: Encoding

    @property
    def name(self) -> tuple[int, str, int]:
        return self.release.version, self.encoding.codec, self.encoding.base


@dataclass(frozen=True)
class Obtained:
    """A release's verified weights, and what they took."""

    weights: Weights
    bytes: int
    hops: int


class Source(Protocol):
    """Where manifests and blobs come from: a hub."""

    def release(self, version: int) -> Release: ...

    def get_blob(self, blob: BlobEntry) -> bytes: ...


def obtain(
    target: Release,
    source: Source,
    have: Known | None = None,
    version: int = NOTHING,
    *,
    at_once: int = 0,
    bytes_per_s: float = BYTES_PER_S,
) -> Obtained:
    """The release's weights by the quickest way. If a hop fails, the quickest one without it, until none is left.

    Args:
        have: verified weights of release `version`, if there are any.
        at_once: as of `decode`.
        bytes_per_s: what the line carries.

    Raises:
        ReleaseInvalid, HubRefused: the last way's failure; BaseMissing if there never was a way; or the hub has
            collected the release.
        HubUnavailable: try again later.
    """
    _check_kept(target)
    failed: dict[tuple[int, str, int], ReleaseInvalid | HubRefused] = {}
    while True:
        way = route(target, source.release, version if have else NOTHING, failed, bytes_per_s)
        if way is None:
            bases = ", ".join(str(encoding.base) for encoding in target.encodings)
            raise next(
                reversed(failed.values()),
                BaseMissing("base", f"nothing leads to release {target.version} from here; it stands on {bases}"),
            )
        known, fetched = have, 0
        for hop in way:
            base = known if hop.encoding.base else None
            try:
                weights = decode(hop.release, source.get_blob, hop.encoding, base, at_once=at_once)
            except (ReleaseInvalid, HubRefused) as error:
                log.warning("release %d can't be had from %d: %s", hop.release.version, hop.encoding.base, error)
                failed[hop.name] = error
                break
            known, fetched = Known(weights, hop.release.tensors, hop.release.result_hash), fetched + hop.encoding.size
        else:
            assert known is not None
            return Obtained(known.weights, fetched, len(way))


def check_blobs(release: Release, get_blob: Callable[[BlobEntry], bytes]) -> None:
    """Fetch every blob of every encoding: `obtain` takes one way, and goes around what is damaged.

    Raises:
        BlobDamaged: naming the encodings that have a blob which is missing, or has other bytes than its hash says.
        ReleaseInvalid: the hub has collected the release.
        HubUnavailable: try again later.
    """
    _check_kept(release)
    damaged = []
    for encoding in release.encodings:
        try:
            for blob in encoding.blobs:
                checked(blob, get_blob(blob))
        except (ReleaseInvalid, HubRefused) as error:
            way = f"from {encoding.base}" if encoding.base else "that stands alone"
            damaged.append(f"{encoding.codec} {way} ({error.field}: {error.problem})")
    if damaged:
        count = f"{len(damaged)} of {len(release.encodings)} encodings damaged"
        raise BlobDamaged(f"release {release.version}", f"has {count}: {', '.join(damaged)}")


def _check_kept(release: Release) -> None:
    if release.collected_wall_s:
        raise ReleaseInvalid(f"release {release.version}", "was collected: its weights are gone", "choose a newer one")


def route(
    target: Release,
    manifest: Callable[[int], Release],
    have: int,
    without: dict[tuple[int, str, int], ReleaseInvalid | HubRefused],
    bytes_per_s: float = BYTES_PER_S,
) -> list[Hop] | None:
    """The hops that bring there soonest from release `have`, or from nothing; None if there are none."""
    hop_cost = tensor_bytes(target.tensors) / DECODED_PER_S
    # (seconds, tie-breaker, version, hops from there to the target)
    frontier: list[tuple[float, int, int, list[Hop]]] = [(0.0, 0, target.version, [])]
    seen: set[int] = set()
    tie = 0
    while frontier:
        cost, _, version, hops = heapq.heappop(frontier)
        if hops and version in (have, NOTHING):
            return hops
        if version in seen:
            continue
        seen.add(version)
        release = target if not hops else _known_release(manifest, version)
        if release is None or release.collected_wall_s:
            continue
        for encoding in release.encodings:
            hop, tie = Hop(release, encoding), tie + 1
            if hop.name not in without and encoding.base not in seen:
                seconds = cost + encoding.size / bytes_per_s + hop_cost
                heapq.heappush(frontier, (seconds, tie, encoding.base, [hop, *hops]))
    return None


def _known_release(manifest: Callable[[int], Release], version: int) -> Release | None:
    try:
        return manifest(version)
    except (HubRefused, ReleaseInvalid) as error:
        log.warning("release %d is out of reach: %s", version, error)
        return None


def tensor_bytes(tensors: Sequence[TensorEntry]) -> int:
    """Of all of them, decoded."""
    return sum(math.prod(entry.shape) * np.dtype(DTYPES.get(entry.dtype, np.uint8)).itemsize for entry in tensors)
