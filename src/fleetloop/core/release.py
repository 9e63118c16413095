"""A release: one published set of weights, described by its manifest."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from fleetloop.core.errors import ReleaseInvalid
from fleetloop.core.spec import PolicySpec

MANIFEST_FORMAT = 2
HUBS_WORD = ("version", "collected_wall_s")
"""Fields that are not the learner's to say."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the decoded result: its hash is of the bytes that a robot will load."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    hash: str


@dataclass(frozen=True)
class BlobEntry:
    """One content-addressed object that the codec needs: blake3 hash and size in bytes."""

    hash: str
    size: int


@dataclass(frozen=True)
class Encoding:
    """One way to get the tensors: blobs, which `codec` reads.

    Attributes:
        base: the version that the blobs are relative to; 0 when they stand alone.
    """

    codec: str
    base: int
    blobs: tuple[BlobEntry, ...]

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs)


@dataclass(frozen=True)
class Release:
    """The manifest. JSON on the wire and on disk.

    Attributes:
        version: assigned by the hub, counting from 1; 0 before that.
        parent: the version that this one was trained on from; 0 for none.
        run: the training run; step: optimizer steps so far.
        trained_through: the event cursor up to which the learner had seen experience.
        covers: online episodes with corrections of which this is the first release to have drawn enough
            (32 samples, or as many as there are): what `correction_to_fleet` is measured by.
        policy: name and configuration from which the architecture is rebuilt.
        spec: the PolicySpec as JSON; spec_hash, config_hash and statistics_hash fix what the weights mean.
        conditions: what the policy may be conditioned on; condition: the one of them that robots act on, or empty.
        encodings: the ways to get the tensors; a robot takes the cheapest from what it has.
        result_hash: blake3 over all tensor hashes, in order; what a robot verifies before it drives.
        clock_s: clock seconds when it was handed to the hub.
        held_out: by task, the mean loss on demonstrations that are never trained on, as measured last.
        signature: over `statement`; empty if it is not signed.
        collected_wall_s: Unix time at which the hub let its weights go; 0: they are there.
    """

    run: str
    step: int
    parent: int
    trained_through: int
    policy: Mapping[str, Any]
    spec: Mapping[str, Any]
    spec_hash: str
    config_hash: str
    statistics_hash: str
    conditions: tuple[str, ...]
    tensors: tuple[TensorEntry, ...]
    encodings: tuple[Encoding, ...]
    result_hash: str
    clock_s: float
    version: int = 0
    covers: tuple[str, ...] = ()
    condition: str = ""
    held_out: Mapping[str, float] = field(default_factory=dict)
    signature: str = ""
    collected_wall_s: float = 0.0
    format: int = MANIFEST_FORMAT

    def numbered(self, version: int) -> "Release":
        """As the learner has made it, under this version."""
        return replace(self, version=version, collected_wall_s=0.0)

    @property
    def blobs(self) -> tuple[BlobEntry, ...]:
        """The blobs of all encodings."""
        return tuple(blob for encoding in self.encodings for blob in encoding.blobs)

    def policy_spec(self) -> PolicySpec:
        """Raises ReleaseInvalid for what is no spec."""
        try:
            return PolicySpec.from_json(self.spec)
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseInvalid("spec", f"is incomplete or malformed ({error!r})") from error

    def to_json(self) -> dict[str, Any]:
        said = asdict(self)
        if not self.collected_wall_s:  # a robot of an earlier version knows no such field
            del said["collected_wall_s"]
        return said

    def statement(self) -> bytes:
        """What a signature is of: all but what the hub says and `signature` itself, as sorted JSON."""
        said = {name: value for name, value in self.to_json().items() if name not in ("signature", *HUBS_WORD)}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Release":
        """Raises ReleaseInvalid naming the field that is wrong."""
        values = dict(data)
        known = {item.name for item in fields(cls)}
        check_format(data)
        for name in sorted(set(values) - known):
            raise ReleaseInvalid(name, "is no field of a manifest")
        try:
            values["tensors"] = tuple(
                TensorEntry(item["name"], item["dtype"], tuple(item["shape"]), item["hash"]) for item in data["tensors"]
            )
            values["encodings"] = tuple(_encoding(item) for item in data["encodings"])
            values["conditions"] = tuple(data["conditions"])
            values["covers"] = tuple(data.get("covers", ()))
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseInvalid("manifest", f"is incomplete or malformed ({error})") from error


def check_format(data: Mapping[str, Any]) -> None:
    """Raise ReleaseInvalid, saying what this version reads, before anything else of another format is found wrong."""
    if data.get("format") != MANIFEST_FORMAT:
        raise ReleaseInvalid("format", f"is {data.get('format')!r}", f"this version reads format {MANIFEST_FORMAT}")


def _encoding(data: Mapping[str, Any]) -> Encoding:
    blobs = tuple(BlobEntry(item["hash"], int(item["size"])) for item in data["blobs"])
    return Encoding(data["codec"], int(data["base"]), blobs)
