"""From publish to verified on the robot, over a line of a known speed: real hub, real publisher, real courier.

The pair is made up (`shared/pair.py`): 315 M parameters as bf16, 25 steps of AdamW apart. The line is a token bucket
with a round trip of `--delay-ms` (`shared/shaped.py`) between the hub and the robot's host; learner and hub are on one
machine. The learner has one core and thread, the robot's host another.

`verified`: seconds from the snapshot in the publisher's hand until the robot's host has checked the last hash. `encode`
and `decode` are measured alone, in the same run, hashing included; `line`: bytes fetched by the line's speed. `all
bf16`: the same with every value sent as it is. Each `--repeats` times. `--lerobot PYTHON` has LeRobot push the same
weights its own way (`shared/lerobot_push.py`); beside it stands our median. Then the bytes over the line of a site
whose couriers share one cache (nginx, as `docs/how-to/site-cache.md` shows it).
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from shutil import which
from statistics import median

import ml_dtypes
import numpy as np
import torch

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Wall
from fleetloop.core.disk import RealDisk
from fleetloop.core.host import HostDirectory
from fleetloop.core.hub import STABLE
from fleetloop.core.release import Release
from fleetloop.core.spec import FeatureSpec, PolicySpec
from fleetloop.courier.backoff import Backoff
from fleetloop.courier.fetcher import Fetcher
from fleetloop.courier.options import CourierOptions
from fleetloop.hub.http.client import HttpHub
from fleetloop.hub.options import HubOptions
from fleetloop.hub.run import serve
from fleetloop.learner.holder import Holder
from fleetloop.learner.publisher import Identity, Publisher, Snapshot
from fleetloop.weights import blocks
from fleetloop.weights.codec import CODECS, FULL, Encoded, Weights, decode, encode, to_safetensors
from fleetloop.weights.ladder import Ladder, PutFor, nowhere
from fleetloop.weights.route import Obtained
from fleetloop.weights.verified import Known
from shared.pair import pair
from shared.report import Row, arguments, show, write
from shared.shaped import shaped

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from nginx import site_cache

SPEC = PolicySpec((FeatureSpec("hands", (4,)),), FeatureSpec("hands", (2,)), 8, 4, 20.0)
IDENTITY = Identity("bench", {"name": "bench"}, SPEC.to_json(), SPEC.hash(), "", "", (), "")
LINES = {"100 Mb/s": 100.0, "1 Gb/s": 1000.0, "loopback": None}
STEPS = 25
CORES = sorted(os.sched_getaffinity(0))
LEARNERS, ROBOTS = CORES[0], CORES[-1]
"""Which core is whose: each side has one thread, as if it stood elsewhere. A child inherits the one that began it, and
knows of no other: it has to be told."""
MOST_AT_ONCE = 10
WALL = Wall()


def main() -> None:
    parser = arguments(__doc__ or "", rate=1e-5, delay_ms=20.0, layers=25, repeats=3)
    parser.add_argument("--snapshots", type=Path, default=Path.home() / ".cache/fleetloop/bench-links")
    parser.add_argument("--couriers", type=int, nargs="*", default=[1, 10, 50], help="at a site; none: leave that out")
    parser.add_argument("--lines", nargs="*", choices=LINES, default=[*LINES])
    parser.add_argument("--lerobot", type=Path, help="the Python of LeRobot's environment; none: leave it out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    old, new = map(Known.of, pair(given.snapshots, given.rate, STEPS, given.layers))
    os.sched_setaffinity(0, {LEARNERS})
    _warm()
    delay_s = given.delay_ms / 1e3
    rows = [_over(line, old, new, delay_s=delay_s) for line in given.lines for _ in range(given.repeats)]
    if "loopback" in given.lines:
        whole = [_over("loopback, all bf16", old, new, delay_s=0.0, ladder=Whole()) for _ in range(given.repeats)]
        rows.extend(whole)
    if rows:
        show(f"{_gigabytes(new.weights):.2f} GB of bf16, {STEPS} steps at {given.rate:.0e}: seconds", rows)
    figures = {"lines": rows}
    if given.lerobot and rows:
        took = {line: median(row["verified"] for row in rows if row[""] == line) for line in given.lines}
        figures["lerobot"] = peers = [
            _pushed(given.lerobot, new, line, took[line], delay_s=delay_s) for line in given.lines
        ]
        show("LeRobot's push of the same weights: seconds", peers)
    if given.couriers and not which("nginx"):
        print("there is no nginx here: what many couriers fetch is left out")
    elif given.couriers:
        figures["site"] = site = _site(old, new, given.couriers)
        show("MB over the line of a site with one cache", site)
    write(given.report, figures)


def _warm() -> None:
    """Load the compiled code, as it is after the first release."""
    values = np.arange(1 << 16, dtype=np.uint16).view(ml_dtypes.bfloat16)
    old, new = Known.of({"a": values}), {"a": values[::-1].copy()}
    blobs = list(blocks.encode(old.tensors, new, old))
    blocks.decode(old.tensors, blobs, old)


def _gigabytes(weights: Weights) -> float:
    return sum(array.nbytes for array in weights.values()) / 1e9


class Whole(Ladder):
    """All values as they are, in place of what the publisher would send."""

    def encode(self, weights: Known, version: int, put_for: PutFor = nowhere) -> list[tuple[int, Encoded]]:
        return [(0, encode(weights, FULL, put=put_for(0, FULL.name)))]


def _over(line: str, old: Known, new: Known, *, delay_s: float, ladder: Ladder | None = None) -> Row:
    """Publish `old`, have it installed on the robot's host, then publish `new` and see when it is verified there."""
    mbps = LINES.get(line)
    with ExitStack() as closes:
        place = Path(closes.enter_context(tempfile.TemporaryDirectory()))
        url = closes.enter_context(_child(_hub, place / "hub")).recv()
        hub = closes.enter_context(closing(HttpHub(url)))
        publisher = Publisher(hub, WALL, IDENTITY, Holder("bench"), ladder=ladder)
        base = _publish(publisher, old)
        HostDirectory(place / "host", RealDisk()).install(base, to_safetensors(old.weights))
        way = closes.enter_context(shaped(url, mbps, delay_s / 2 if mbps else 0.0))
        courier = closes.enter_context(_child(_courier, place / "host", way.url, ROBOTS))
        courier.recv()  # it is about to wait at the hub
        time.sleep(1.0)
        began = WALL.now()
        release = _publish(publisher, new)
        published = WALL.now()
        verified, installed, fetched = courier.recv()
        encoding_s, decoding_s = _alone(hub, release, old, new)
    sent = fetched / (mbps * 1e6 / 8) if mbps else 0.0
    took, parts = verified - began, (encoding_s, sent, decoding_s)
    return {
        "": line,
        "MB": fetched / 1e6,
        "encode": encoding_s,
        "line": sent,
        "decode": decoding_s,
        "published": published - began,
        "verified": took,
        "/ sum": took / sum(parts),
        "/ slowest": took / max(parts),
        "on disk": installed - began,
    }


def _publish(publisher: Publisher, known: Known) -> Release:
    publisher.offer(Snapshot(0, 0, (), known.weights))
    publisher.work(WALL.now())
    (release,) = publisher.take_published()
    return release


def _alone(hub: HttpHub, release: Release, old: Known, new: Known) -> tuple[float, float]:
    """Seconds to encode and to decode with nothing else going on, from memory to memory, hashes included."""
    (way,) = release.encodings
    began = WALL.now()
    encode(new.weights, CODECS[way.codec], old)
    encoded = WALL.now()
    blobs = {entry: hub.get_blob(entry) for entry in way.blobs}
    os.sched_setaffinity(0, {ROBOTS})
    fetched = WALL.now()
    decode(release, blobs.__getitem__, way, old)
    decoded = WALL.now()
    os.sched_setaffinity(0, {LEARNERS})
    return encoded - began, decoded - fetched


def _pushed(python: Path, new: Known, line: str, ours_s: float, *, delay_s: float) -> Row:
    """The same weights by LeRobot's own code, beside what ours took."""
    mbps = LINES[line]
    shape = ("--mbps", f"{mbps:g}", "--delay-s", f"{delay_s:g}") if mbps else ()
    os.sched_setaffinity(0, CORES)
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(to_safetensors(new.weights))
        file.flush()
        command = [python.absolute(), "-m", "shared.lerobot_push", file.name, *shape]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=Path(__file__).parent)
    os.sched_setaffinity(0, {LEARNERS})
    pushed = json.loads(said.stdout)
    return {"": line, **pushed, "ours": ours_s, "times ours": pushed["seconds"] / ours_s}


def _site(old: Known, new: Known, couriers: Sequence[int]) -> list[Row]:
    """What crosses a site's line when so many couriers, at the same time, fetch what leads from `old` to `new`.

    Manifests are counted, beats and episodes are not there. Nothing is decoded.
    """
    rows: list[Row] = []
    with ExitStack() as closes:
        place = Path(closes.enter_context(tempfile.TemporaryDirectory()))
        url = closes.enter_context(_child(_hub, place / "hub")).recv()
        publisher = Publisher(closes.enter_context(closing(HttpHub(url))), WALL, IDENTITY, Holder("bench"))
        _publish(publisher, old)
        _publish(publisher, new)
        for count in couriers:
            with shaped(url, None) as way, site_cache(place / f"nginx-{count}", way.url) as cache:
                fetch = partial(_fetched, way.url, cache.url)
                with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
                    fetched = sum(pool.map(fetch, range(count)))
                row = {"couriers": count, "fetched": fetched / 1e6, "over the line": way.down / 1e6}
            rows.append({**row, "/ one's": row["over the line"] / rows[0]["over the line"] if rows else 1.0})
    return rows


def _fetched(hub_url: str, cache_url: str, _: int) -> int:
    """Bytes of blobs that came."""
    with closing(HttpHub(hub_url, release_cache=cache_url)) as hub:
        release = hub.channel(STABLE)
        assert release is not None
        return sum(len(hub.get_blob(entry)) for entry in release.encodings[0].blobs)


class Noting(Fetcher):
    """Notes when a release's last hash was checked."""

    verified_at = 0.0

    def _obtain(self, release: Release, made: Obtained | None, gives_way: Callable[[], bool]) -> Obtained:
        obtained = super()._obtain(release, made, gives_way)
        self.verified_at = WALL.now()
        return obtained


def _courier(said: Connection, place: Path, url: str, core: int) -> None:
    os.sched_setaffinity(0, {core})
    host, options, alarms = HostDirectory(place, RealDisk()), CourierOptions(), Alarms()
    backoff = Backoff(options, np.random.default_rng(0))
    fetcher = Noting(host, HttpHub(url), options=options, backoff=backoff, alarms=alarms, clock=WALL)
    _warm()
    said.send("ready")
    while host.current_version() < 2:
        fetcher.step()
    installed = WALL.now()
    noted = json.loads((host.releases / "installed").read_text().splitlines()[-1])
    said.send((fetcher.verified_at, installed, noted["bytes"]))


def _hub(said: Connection, directory: Path) -> None:
    with suppress(PermissionError):  # it stands elsewhere too: it must not wait until the learner's time slice is over
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    serve(HubOptions(directory=directory, port=0, learner_lease_s=3600), WALL, ready=said.send)


@contextmanager
def _child(work: Callable[..., None], *given: object) -> Iterator[Connection]:
    """`work` in a process of its own; what it says."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=work, args=(theirs, *given), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
