"""What taking an episode in costs: MB/s of a real hub over loopback, beside what it can't be faster than.

In the same run, the same files, so many at once, three rounds of so many episodes: a copy with fsync of file and
directory, which is the least that a durable acknowledgement needs; a PUT to the same server stack (uvicorn, starlette,
httpx) that throws the bytes away; one that keeps them as durably as the copy; and the hub, which hashes, writes, forces
onto the disk, reads every value, and commits; plain and over TLS. A file's hash is its sender's since it was sealed,
and is worked out before.
"""

import datetime
import ipaddress
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fleetloop.core.clock import Wall
from fleetloop.core.disk import PIECE
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
AT_ONCE = (1, 8)
KINDS = (("state, 0.2 MB", 1200, 0), ("camera, 5 MB", 200, 25_000))  # name, frames, bytes of an image
Send = Callable[[Path, str], Any]


def main() -> None:
    given = arguments(__doc__, episodes=32).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        certificate, key = _certificate(place)
        for kind, frames, image in KINDS:
            copies = place / f"copies {kind}"
            copies.mkdir()
            with (
                _running(_bare) as bare,
                _running(_bare, copies) as durable,
                _running(_hub, place / f"hub {kind}") as hub,
                _running(_hub, place / f"tls {kind}", certificate, key) as tls,
                httpx.Client(trust_env=False) as client,
            ):
                plain, safe = HttpHub(hub), HttpHub(tls, ca=certificate)
                ways = _ways(client, copies, bare=bare, durable=durable, plain=plain, safe=safe)
                for at_once in AT_ONCE:
                    files = _files(place, frames, image, given.episodes)
                    rows.append({"episode": kind, "at_once": at_once, **_measured(files, ways, at_once)})
                plain.close()
                safe.close()
    show("ingest: MB/s", rows)
    write(given.report, {"ingest": rows})


def _ways(
    client: httpx.Client, copies: Path, *, bare: str, durable: str, plain: HttpHub, safe: HttpHub
) -> Mapping[str, Send]:
    return {
        "copy": lambda path, hash: _copy(path, copies),
        "put": lambda path, hash: _put(client, bare, path),
        "durable": lambda path, hash: _put(client, durable, path),
        "hub": lambda path, hash: plain.put_episode(path.stem, path, hash),
        "tls": lambda path, hash: safe.put_episode(path.stem, path, hash),
    }


def _measured(rounds: Iterator[Sequence[Path]], ways: Mapping[str, Send], at_once: int) -> dict[str, float]:
    found: dict[str, list[float]] = {way: [] for way in ways}
    for files in rounds:
        hashes = [blake3(path.read_bytes()).hexdigest() for path in files]
        for way, send in ways.items():
            with ThreadPoolExecutor(at_once) as pool:
                began = time.perf_counter()
                list(pool.map(send, files, hashes))
                took = time.perf_counter() - began
            found[way].append(sum(path.stat().st_size for path in files) / took / 1e6)
    rates = {way: median(values[1:]) for way, values in found.items()}  # the first round warms up
    return {
        **rates,
        "hub_of_put": rates["hub"] / rates["put"],
        "hub_of_durable": rates["hub"] / rates["durable"],
        "hub_of_copy": rates["hub"] / rates["copy"],
        "tls_of_hub": rates["tls"] / rates["hub"],
    }


def _files(place: Path, frames: int, image: int, count: int) -> Iterator[Sequence[Path]]:
    """For each round others, which are gone after it."""
    rng = np.random.default_rng()
    for _ in range(ROUNDS + 1):
        files = [_episode(place, frames, image, rng) for _ in range(count)]
        yield files
        for path in files:
            path.unlink()


def _episode(place: Path, frames: int, image: int, rng: np.random.Generator) -> Path:
    """A sealed file."""
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


def _put(client: httpx.Client, url: str, path: Path) -> None:
    with path.open("rb") as file:
        client.put(f"{url}/{path.name}", content=file).raise_for_status()


def _copy(path: Path, directory: Path) -> None:
    with path.open("rb") as source, (directory / path.name).open("wb") as file:
        shutil.copyfileobj(source, file, PIECE)
        file.flush()
        os.fsync(file.fileno())
    _force_names(directory)


def _force_names(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


# ---------------------------------------------------------------------- the servers, each a process


def _bare(tell: Connection, keep: Path | None = None) -> None:
    async def take(request: Request) -> JSONResponse:
        chunks = [chunk async for chunk in request.stream()]
        if keep is not None:
            await run_in_threadpool(_keep, keep / request.path_params["name"], chunks)
        return JSONResponse({"bytes": sum(map(len, chunks))})

    class Told(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            tell.send(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}")

    app = Starlette(routes=[Route("/{name}", take, methods=["PUT"])])
    Told(uvicorn.Config(app, port=0, log_level="error", access_log=False)).run()


def _keep(path: Path, chunks: Sequence[bytes]) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    _force_names(path.parent)


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
