"""Thousands of mutated episodes, annotations, manifests and requests against a running hub.

No 5xx, no hang, nothing stored that is not sound, and no more memory than before.
"""

import json
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil
import pytest
from blake3 import blake3
from hub_world import HubProcess, fresh_id, manifest, registration, sealed

from fleetloop.core.episode import Episode
from fleetloop.core.errors import EpisodeInvalid
from fleetloop.core.outcome import Annotation, Judge, Outcome
from fleetloop.core.validation import validate
from fleetloop.hub.http import wire

PATIENCE_S = 20.0
MORE_MEMORY = 200 << 20  # bytes
DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]
NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 63, -(1 << 70), 1e308, -0.0, "", "\x00", "../../etc/passwd", "é" * 5000, "NaN", [], {},
    DEEP, {"$ref": "#"}, [[[]]], "0" * 26, "f" * 64, "pick \ud83d", {"\udfff": ""},
)  # fmt: skip
METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS")
PATHS = (
    "episodes",
    "annotations",
    "events",
    "lease",
    "blobs",
    "releases",
    "channels/stable",
    "robots",
    "beats",
    "fleet",
    "uploads",
)


def mutated_bytes(data: bytes, rng: Random) -> bytes:
    """One to four of: bits flipped, cut off, made longer, a part zeroed, moved, or doubled."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        first, last = sorted(rng.randrange(len(found) + 1) for _ in range(2))
        deed = rng.randrange(6)
        if deed == 0 and found:
            found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
        elif deed == 1:
            del found[last:]
        elif deed == 2:
            found += rng.randbytes(rng.randint(1, 300))
        elif deed == 3:
            found[first:last] = bytes(last - first)
        elif deed == 4:
            found[first:last] = reversed(found[first:last])
        else:
            found[first:first] = found[first:last]
    return bytes(found[: 4 * len(data) + 400])


def mutated_json(data: Any, rng: Random) -> Any:
    """A value somewhere inside replaced by a nasty one, left out, or a strange one added."""
    if isinstance(data, dict) and data and rng.random() < 0.8:
        key = rng.choice(list(data))
        deed = rng.randrange(4)
        if deed == 0:
            return {name: value for name, value in data.items() if name != key}
        if deed == 1:
            return {**data, rng.choice(("", "id", "x" * 300, key + " ")): rng.choice(NASTY)}
        return {**data, key: mutated_json(data[key], rng)}
    if isinstance(data, list) and data and rng.random() < 0.8:
        place = rng.randrange(len(data))
        return [*data[:place], mutated_json(data[place], rng), *data[place + 1 :]]
    return rng.choice(NASTY)


class Attacker:
    """Sends what is wrong, in many ways, to one hub."""

    def __init__(self, client: httpx.Client, outbox: Path, seed: int) -> None:
        self._client, self._rng = client, Random(seed)
        self._episode = sealed(outbox, "pphhpp")
        self._bytes = self._episode.path.read_bytes()
        release, _ = manifest()
        lease = {"holder": "nobody", "fence": 1 << 40, "until": 0.0}  # so that even a sound manifest is refused
        annotation = Annotation(fresh_id(), fresh_id(), "ann", Judge.PERSON, 1.0, Outcome.FAILURE)
        joining = registration()
        self._bodies: list[tuple[str, str, Any]] = [
            ("POST", "/v1/annotations", annotation.to_json()),
            ("POST", "/v1/releases", {"release": release.to_json(), "lease": lease}),
            ("POST", "/v1/drafts", {"draft": asdict(release.encodings[0]), "lease": lease}),
            ("PUT", "/v1/lease", lease),
            ("POST", "/v1/robots", {**vars(joining), "spec": joining.spec.to_json()}),
            ("POST", "/v1/beats", [{"robot": "robot-1", "phase": "running", "frames": 3}]),
            ("POST", "/v1/learner", {"run": "r", "step": 1, "release": 1, "cursor": 1, "parked": False, "lag_s": 0.0}),
            ("PUT", "/v1/channels/stable", {"version": 7}),
        ]
        self.sound: set[str] = set()

    def attack(self) -> httpx.Response:
        ways = (self._send_episode, self._send_parts, self._send_body, self._send_broken_json, self._send_anything)
        return self._rng.choice(ways)()

    def _send_episode(self) -> httpx.Response:
        data = mutated_bytes(self._bytes, self._rng)
        said = self._client.put(
            f"/v1/episodes/{self._episode.meta.id}",
            content=data,
            headers={wire.HASH_HEADER: blake3(data).hexdigest()},
        )
        self._note(said, data)
        return said

    def _note(self, said: httpx.Response, data: bytes) -> None:
        if said.status_code in (200, 201):  # a flip in what nobody reads leaves it the episode that it was
            try:
                validate(Episode.from_bytes(data))
            except EpisodeInvalid as error:
                raise AssertionError("the hub took an episode that is none") from error
            self.sound.add(self._episode.meta.id)

    def _send_parts(self) -> httpx.Response:
        """An upload in parts whose hash, length, offsets or order are not what they should be."""
        data = mutated_bytes(self._bytes, self._rng)
        hash = self._rng.choice((blake3(data).hexdigest(), "f" * 64, "F" * 64, "x" * 64, "..%2f..%2flock"))
        path = f"/v1/uploads/{self._rng.choice((fresh_id(), self._episode.meta.id, '0' * 26, '..'))}/{hash}"
        length = str(self._rng.choice((len(data), len(data) - 1, 0, -1, 1 << 70, "x")))
        self._client.put(path, headers={wire.LENGTH_HEADER: length})
        offset = str(self._rng.choice((0, 0, 7, -1, 1 << 62, "")))
        self._client.patch(path, content=data, headers={wire.OFFSET_HEADER: offset})
        said = self._client.post(path)
        self._note(said, data)
        return said

    def _send_body(self) -> httpx.Response:
        method, path, body = self._rng.choice(self._bodies)
        return self._client.request(method, path, content=json.dumps(mutated_json(body, self._rng)))

    def _send_broken_json(self) -> httpx.Response:
        method, path, body = self._rng.choice(self._bodies)
        return self._client.request(method, path, content=mutated_bytes(json.dumps(body).encode(), self._rng))

    def _send_anything(self) -> httpx.Response:
        path = f"/v1/{self._rng.choice(PATHS)}"
        if self._rng.random() < 0.5:
            path += "/" + self._rng.choice(("..%2f..%2flock", "%00", "x" * 3000, "-1", "1e9", "%f0%28", "é"))
        query = {
            name: self._rng.choice(("-1", "1e400", "nan", "x" * 999, "9" * 30, "", "0")) for name in ("after", "limit")
        }
        headers = {wire.HASH_HEADER: self._rng.choice(("", "x", "f" * 64)), "Content-Type": "text/plain; charset=x"}
        return self._client.request(
            self._rng.choice(METHODS), path, params=query, headers=headers, content=self._rng.randbytes(99)
        )


def stored(hub: Path) -> set[str]:
    """Of what experience and releases there are, the names; events, which are numbers, apart."""
    files = (path for name in ("episodes", "events", "releases") for path in (hub / name).iterdir())
    return {path.stem for path in files if len(path.stem) != 12}


def assault(tmp_path: Path, count: int) -> None:
    (tmp_path / "outbox").mkdir()
    hub = HubProcess.start(tmp_path / "hub", max_episode_mb=0.5)
    try:
        with httpx.Client(base_url=hub.url, timeout=PATIENCE_S, trust_env=False) as client:
            attacker, process = Attacker(client, tmp_path / "outbox", seed=1), psutil.Process(hub.process.pid)
            for _ in range(count // 10):
                attacker.attack()
            before = process.memory_info().rss
            statuses: dict[int, int] = {}
            for number in range(count):
                said = attacker.attack()
                statuses[said.status_code] = statuses.get(said.status_code, 0) + 1
                torn = said.status_code == 503 and "send it anew" in said.text
                assert said.status_code < 500 or torn, f"attack {number}: {said.status_code} {said.text[:300]}"
            assert process.memory_info().rss < before + MORE_MEMORY
            assert client.get("/v1/health").json() == {"status": "serving"}
            assert stored(tmp_path / "hub") == attacker.sound
        assert sum(statuses[code] for code in statuses if code >= 400) > 0.8 * count, statuses
        assert hub.stop() == 0
    finally:
        hub.process.kill()


def test_a_thousand_attacks(tmp_path):
    assault(tmp_path, 1_000)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_thousand_attacks(tmp_path):
    assault(tmp_path, 10_000)
