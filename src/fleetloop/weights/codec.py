"""How a release's tensors become blobs and come back. Manifests name the codec of each encoding.

`full/1` is one safetensors blob that anything can read; `blocks/1` takes fewer bytes, most of all relative to a base.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from blake3 import blake3

from fleetloop.core.release import BlobEntry, Encoding, Release, TensorEntry
from fleetloop.weights import blocks
from fleetloop.weights.ahead import ahead
from fleetloop.weights.block import SMALL, Profile
from fleetloop.weights.errors import BaseMissing, BlobDamaged, CodecUnknown
from fleetloop.weights.safetensors_file import from_safetensors, to_safetensors
from fleetloop.weights.streams import Weights
from fleetloop.weights.verified import Known, result_hash, verify, verify_tensors

__all__ = ["Weights", "decode", "encode", "from_safetensors", "result_hash", "to_safetensors", "verify"]

WAITING = 8
"""Blobs per thread that fetches: some seconds of a line of 100 Mb/s, in which a base may be read from a slow disk."""

Put = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Encoded:
    """What a codec made of a set of weights."""

    codec: str
    tensors: tuple[TensorEntry, ...]
    result_hash: str
    blobs: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(map(len, self.blobs.values()))

    def fetch(self, blob: BlobEntry) -> bytes:
        return self.blobs[blob.hash]

    def encoding(self, base: int = 0) -> Encoding:
        """What a manifest says of it; `base` is the version that it is relative to."""
        return Encoding(self.codec, base, tuple(BlobEntry(hash, len(data)) for hash, data in self.blobs.items()))


class Codec(Protocol):
    """A way to write weights, possibly relative to weights that the receiver has (`base`)."""

    @property
    def name(self) -> str: ...

    def encode(self, weights: Known, base: Known | None, profile: Profile) -> Iterator[bytes]: ...

    def decode(self, tensors: tuple[TensorEntry, ...], blobs: Iterable[bytes], base: Known | None) -> Weights: ...


class Full:
    """Everything, in one safetensors blob; needs no base."""

    name = "full/1"

    def encode(self, weights: Known, base: Known | None, profile: Profile) -> Iterator[bytes]:
        yield to_safetensors(weights.weights)

    def decode(self, tensors: tuple[TensorEntry, ...], blobs: Iterable[bytes], base: Known | None) -> Weights:
        given = list(blobs)
        if len(given) != 1:
            raise BlobDamaged("blobs", f"{len(given)} given, but {self.name} has exactly 1")
        return from_safetensors(given[0])


@dataclass(frozen=True)
class Blocks:
    """Block by block the shortest way; see `weights/blocks.py`."""

    threads: int | None = None
    name: str = blocks.NAME

    def encode(self, weights: Known, base: Known | None, profile: Profile) -> Iterator[bytes]:
        return blocks.encode(weights.tensors, weights.weights, base, profile, threads=self.threads)

    def decode(self, tensors: tuple[TensorEntry, ...], blobs: Iterable[bytes], base: Known | None) -> Weights:
        return blocks.decode(tensors, blobs, base, threads=self.threads)


FULL, BLOCKS = Full(), Blocks()
CODECS: Mapping[str, Codec] = {FULL.name: FULL, BLOCKS.name: BLOCKS}


def encode(
    weights: Weights | Known,
    codec: Codec = FULL,
    base: Known | None = None,
    profile: Profile = SMALL,
    *,
    put: Put | None = None,
) -> Encoded:
    """Weights as content-addressed blobs, with the hashes that a robot verifies.

    `put` is given each blob's hash and bytes while the next ones are made.

    Raises:
        TensorMismatch: the base has other tensors.
        NameRefused, TensorMismatch, TooLarge: no robot would take these; see `streams.check`.
    """
    known, blobs = weights if isinstance(weights, Known) else Known.of(weights), {}
    for blob in codec.encode(known, base, profile):
        hash = blake3(blob).hexdigest()
        blobs[hash] = blob
        if put is not None:
            put(hash, blob)
    return Encoded(codec.name, known.tensors, known.result_hash, blobs)


def decode(
    release: Release,
    fetch: Callable[[BlobEntry], bytes],
    encoding: Encoding | None = None,
    base: Known | None = None,
    *,
    at_once: int = 0,
) -> Weights:
    """The release's weights by one of its encodings, every blob and every tensor verified.

    Args:
        encoding: the first that stands alone, unless given.
        base: what the encoding is relative to, verified already.
        at_once: blobs that are fetched at the same time, in threads, while others are decoded; 0: one after the other.

    Raises:
        ReleaseInvalid: naming the blob or the tensor whose hash, shape or dtype is not the manifest's; its kinds are in
            `weights/errors.py`.
    """
    chosen = encoding or _standing_alone(release)
    return decode_tensors(release.tensors, release.result_hash, fetch, chosen, base, at_once=at_once)


def decode_tensors(
    tensors: tuple[TensorEntry, ...],
    expected: str,
    fetch: Callable[[BlobEntry], bytes],
    encoding: Encoding,
    base: Known | None,
    *,
    at_once: int = 0,
    codecs: Mapping[str, Codec] = CODECS,
) -> Weights:
    """`decode` for those who have no release: the tensors whose result hash is `expected`."""
    codec = codecs.get(encoding.codec)
    if codec is None:
        raise CodecUnknown("codec", f"is {encoding.codec!r}", f"this version reads {', '.join(CODECS)}")
    most = WAITING * at_once
    with ahead(lambda entry: checked(entry, fetch(entry)), encoding.blobs, at_once, most=most) as blobs:
        weights = codec.decode(tensors, blobs, base)
    verify_tensors(tensors, expected, weights)
    return weights


def _standing_alone(release: Release) -> Encoding:
    for encoding in release.encodings:
        if encoding.base == 0:
            return encoding
    bases = ", ".join(str(encoding.base) for encoding in release.encodings)
    raise BaseMissing("base", f"release {release.version} stands on others ({bases})", "fetch one of those first")


def checked(entry: BlobEntry, blob: bytes) -> bytes:
    """The blob. Raises BlobDamaged unless size and hash are as they should be."""
    if len(blob) != entry.size or blake3(blob).hexdigest() != entry.hash:
        raise BlobDamaged(f"blob {entry.hash[:12]}", "has other bytes than its hash says", "fetch it again")
    return blob
