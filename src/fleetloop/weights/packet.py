"""One encoding on its own, as a directory: `manifest.json` and the blobs, each in a file that is named by its hash."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from fleetloop.core.disk import disk_trouble
from fleetloop.core.release import BlobEntry, Encoding, TensorEntry
from fleetloop.weights.codec import CODECS, Blocks, Encoded, decode_tensors
from fleetloop.weights.errors import BlobDamaged
from fleetloop.weights.streams import Weights, check
from fleetloop.weights.verified import Known

MANIFEST = "manifest.json"
FORMAT = 1
_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Packet:
    """What `manifest.json` says."""

    tensors: tuple[TensorEntry, ...]
    result_hash: str
    encoding: Encoding


def write(directory: Path, encoded: Encoded) -> None:
    """Blobs first, the manifest last. Raises DiskTrouble."""
    said = {"format": FORMAT, "result_hash": encoded.result_hash, "encoding": asdict(encoded.encoding())}
    said["tensors"] = [asdict(entry) for entry in encoded.tensors]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for hash, blob in encoded.blobs.items():
            (directory / hash).write_bytes(blob)
        (directory / MANIFEST).write_text(json.dumps(said, indent=1) + "\n")
    except OSError as error:
        raise disk_trouble(directory, error) from error


def read(directory: Path) -> Packet:
    """Raises BlobDamaged for a manifest that is missing or malformed, and as `streams.check`."""
    path = directory / MANIFEST
    try:
        said = json.loads(path.read_bytes())
        if said["format"] != FORMAT:
            raise BlobDamaged(str(path), f"has the format {said['format']!r}", f"this version reads {FORMAT}")
        tensors = tuple(
            TensorEntry(item["name"], item["dtype"], tuple(item["shape"]), item["hash"]) for item in said["tensors"]
        )
        blobs = tuple(BlobEntry(str(item["hash"]), int(item["size"])) for item in said["encoding"]["blobs"])
        packet = Packet(tensors, said["result_hash"], Encoding(said["encoding"]["codec"], 0, blobs))
    except OSError as error:
        raise BlobDamaged(str(path), f"can't be read ({error.strerror})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BlobDamaged(str(path), f"is incomplete or malformed ({error!r})") from error
    check(packet.tensors)
    return packet


def unpack(directory: Path, packet: Packet, base: Known | None, threads: int = 1) -> Weights:
    """The tensors, verified. Raises ReleaseInvalid (see `codec.decode`)."""

    def fetch(blob: BlobEntry) -> bytes:
        if not _HASH.fullmatch(blob.hash):
            raise BlobDamaged(f"blob {blob.hash!r}", "is named by no hash")
        try:
            return (directory / blob.hash).read_bytes()
        except OSError as error:
            raise BlobDamaged(f"blob {blob.hash[:12]}", f"can't be read ({error.strerror})") from error

    blocks = Blocks(threads)
    codecs = {**CODECS, blocks.name: blocks}
    return decode_tensors(packet.tensors, packet.result_hash, fetch, packet.encoding, base, codecs=codecs)
