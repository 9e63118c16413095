"""What taking an episode in costs: MB/s of a real hub over loopback, beside what it can't be faster than.

In the same run, the same files, one after the other, three rounds of so many episodes: a copy with fsync of file and
directory, which is the least that a durable acknowledgement needs; a PUT to the same server stack (uvicorn, starlette,
httpx) that throws the bytes away; and the hub, which hashes, writes, forces onto the disk, reads every value, and
commits; plain and over TLS.
"""

import datetime
import ipaddress
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import uvicorn
from blake3 import blake3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fleetloop.core.clock import Wall
from fleetloop.core.episode import Ending, EpisodeMeta, schema_of
from fleetloop.core.ids import new_id
from fleetloop.core.outcome import Judge, Outcome
from fleetloop.core.recording import seal_bytes
from fleetloop.core.spec import CameraSpec, FeatureSpec, RobotSpec
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import serve
from shared.report import arguments, show, write

ROUNDS = 3
KINDS = (("state, 0.2 MB", 1200, 0), ("camera, 5 MB", 200, 25_000))  # name, frames, bytes of an image


def main() -> None:
    given = arguments(__doc__, episodes=30).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        certificate, key = _certificate(place)
        for kind, frames, image in KINDS:
            with (
                _running(_bare) as bare,
                _running(_hub, place / f"hub {kind}") as hub,
                _running(_hub, place / f"tls {kind}", certificate, key) as tls,
            ):
                rows.append(
                    _measured(place, kind, frames, image, count=given.episodes, urls=(bare, hub, tls), ca=certificate)
                )
    show("ingest", rows)
    write(given.report, {"ingest": rows})


def _measured(
    place: Path, kind: str, frames: int, image: int, *, count: int, urls: Sequence[str], ca: Path
) -> dict[str, Any]:
    found: dict[str, list[float]] = {"copy": [], "put": [], "hub": [], "tls": []}
    size = 0
    with httpx.Client(trust_env=False) as client:
        plain, safe = HttpHub(urls[1]), HttpHub(urls[2], ca=ca)
        for number in range(ROUNDS + 1):
            files = [_episode(place, frames, image, seed) for seed in range(number * count, (number + 1) * count)]
            size = files[0].stat().st_size
            ways: dict[str, Callable[[Path], Any]] = {
                "copy": lambda path: _copy(path, place / "copies"),
                "put": lambda path: client.put(f"{urls[0]}/x", content=path.open("rb")),
                "hub": lambda path: plain.put_episode(path.stem, path, _hash(path)),
                "tls": lambda path: safe.put_episode(path.stem, path, _hash(path)),
            }
            for way, send in ways.items():
                began = time.perf_counter()
                for path in files:
                    send(path)
                if number:  # the first round warms up
                    found[way].append(sum(path.stat().st_size for path in files) / (time.perf_counter() - began) / 1e6)
            for path in files:
                path.unlink()
    rates = {way: median(values) for way, values in found.items()}
    return {
        "episode": f"{kind} ({size / 1e6:.2f})",
        **{f"{way}_MB_s": rate for way, rate in rates.items()},
        "hub_of_put": rates["hub"] / rates["put"],
        "hub_of_copy": rates["hub"] / rates["copy"],
        "tls_of_hub": rates["tls"] / rates["hub"],
    }


def _episode(place: Path, frames: int, image: int, seed: int) -> Path:
    """A sealed file with its hash not yet worked out."""
    rng = np.random.default_rng(seed)
    cameras = (CameraSpec("top", 224, 224),) if image else ()
    spec = RobotSpec("bench", (FeatureSpec("joints", (14,)),), FeatureSpec("joints", (14,)), 20.0, cameras)
    id = new_id(time.time(), rng)
    ending = Ending(Outcome.SUCCESS, Judge.SIMULATOR)
    meta = EpisodeMeta(id, "bench", "robot", "site", "bench/task", "", "online", spec, ending=ending)
    schema = schema_of(meta)
    columns = []
    for field in schema:
        if pa.types.is_fixed_size_list(field.type):
            flat = rng.normal(size=frames * field.type.list_size).astype(np.float32)
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), type=field.type))
        elif pa.types.is_binary(field.type):
            columns.append(pa.array([b"\xff\xd8" + rng.bytes(image) for _ in range(frames)], field.type))
        else:
            columns.append(pa.array(np.arange(frames) if field.name != "source" else np.zeros(frames), field.type))
    path = place / f"{id}.arrow"
    path.write_bytes(seal_bytes([pa.RecordBatch.from_arrays(columns, schema=schema)], meta))
    return path


def _hash(path: Path) -> str:
    return blake3(path.read_bytes()).hexdigest()


def _copy(path: Path, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    with (directory / path.name).open("wb") as file:
        file.write(path.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


# ---------------------------------------------------------------------- the servers, each a process


def _bare(tell: Connection) -> None:
    async def take(request: Request) -> JSONResponse:
        return JSONResponse({"bytes": sum([len(chunk) async for chunk in request.stream()])})

    class Told(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            tell.send(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}")

    app = Starlette(routes=[Route("/x", take, methods=["PUT"])])
    Told(uvicorn.Config(app, port=0, log_level="error", access_log=False)).run()


def _hub(tell: Connection, directory: Path, certificate: Path | None = None, key: Path | None = None) -> None:
    options = HubOptions(directory=directory, port=0, tls_certificate=certificate, tls_key=key)
    serve(options, Wall(), ready=tell.send)


@contextmanager
def _running(server: Callable[..., None], *given: Any) -> Iterator[str]:
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=server, args=(there, *given))
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def _certificate(place: Path) -> tuple[Path, Path]:
    """One that vouches for itself, for 127.0.0.1."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (place / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    (place / "certificate.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    return place / "certificate.pem", place / "key.pem"


if __name__ == "__main__":
    main()
