"""The hub over HTTP: implements core's Hub for everybody who is not in the hub's process."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from fleetloop.core.clock import Wall
from fleetloop.core.errors import EpisodeInvalid, HubUnavailable, UnknownName
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
from fleetloop.core.ids import is_name
from fleetloop.core.outcome import Annotation
from fleetloop.core.release import BlobEntry, Encoding, Release
from fleetloop.core.steering import Steering, Tally
from fleetloop.hub.http import wire
from fleetloop.hub.http.download import download
from fleetloop.hub.http.line import Line
from fleetloop.hub.http.site_cache import SiteCache
from fleetloop.hub.http.uplink import Uplink, giving_way, stopped
from fleetloop.hub.storage.objects import copy_verified

IN_ONE_GO = 1 << 20
"""Bytes up to which an episode goes up in one request: so few are sent again sooner than asked about."""
ASKS_FOR_BYTES = 202


@dataclass(frozen=True)
class Place:
    """Where the next bytes of an upload go, and which: none, once all are there."""

    offset: int
    length: int
    method: str = ""
    url: str = ""


class HttpHub:
    """One keep-alive client. Safe to call from several threads.

    Every call raises HubUnavailable when the hub can't be reached or can't serve now, and the hub's own typed error
    (HubRefused, EpisodeInvalid, …) when it says no.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        uplink_mbps: float | None = None,
        token: str = "",
        ca: Path | None = None,
        release_cache: str | None = None,
    ) -> None:
        """`timeout_s`: real seconds without a byte from the hub after which a call gives up.

        `uplink_mbps`: megabits per second that the uploads of episodes share; None for no limit.
        `token`: the secret that the hub asks for; it goes to other machines under TLS alone.
        `ca`: PEM file with the certificate to trust the hub by, in place of the system's, and its store, beside them.
        `release_cache`: URL of a cache that is asked for blobs before the hub is; it is never shown the token.

        Raises:
            ConfigInvalid: if the token would travel in the clear, or `ca` can't be used.
        """
        self._line = Line(url, timeout_s=timeout_s, token=token, ca=ca)
        self.url = self._line.url
        self._uplink = Uplink(uplink_mbps, Wall()) if uplink_mbps else None
        self._cache = SiteCache(release_cache, self._line.tls) if release_cache else None

    def close(self) -> None:
        self._line.close()
        if self._cache:
            self._cache.close()

    # ------------------------------------------------------------------ experience

    def put_episode(self, id: str, path: Path, hash: str, *, gives_way: Callable[[], bool] = never) -> Acknowledgement:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > IN_ONE_GO:
                return self._put_in_parts(id, file, hash, gives_way)
            whole = self._part(file, 0, size, {wire.HASH_HEADER: hash})
            said = self._line.call("PUT", f"/v1/episodes/{id}", **whole)
        return wire.told(Acknowledgement, self._line.read(said))

    def _put_in_parts(self, id: str, file: BinaryIO, hash: str, gives_way: Callable[[], bool]) -> Acknowledgement:
        """Ask where the bytes go and which are there already, send the rest, have it taken."""
        upload, size = f"/v1/uploads/{id}/{hash}", os.fstat(file.fileno()).st_size
        ends = 0
        while ends < size:
            said = self._line.call("PUT", upload, headers={wire.LENGTH_HEADER: str(size)})
            if said.status_code != ASKS_FOR_BYTES:
                return wire.told(Acknowledgement, self._line.read(said))
            place = wire.told(Place, self._line.read(said))
            if place.offset < ends:
                raise HubUnavailable("upload", "was begun again by another request")
            ends = place.offset + place.length
            self._send(place, file, gives_way)
            if ends < size and gives_way():
                raise stopped()
        return wire.told(Acknowledgement, self._line.ask("POST", upload))

    def _send(self, place: Place, file: BinaryIO, gives_way: Callable[[], bool]) -> None:
        """The bytes that go to this place next."""
        if not place.length:
            return
        if place.method == "PATCH":
            headers = {wire.OFFSET_HEADER: str(place.offset)}
            self._line.call("PATCH", place.url, **self._part(file, place.offset, place.length, headers, gives_way))
            return
        # Into a bucket, which keeps whole parts alone: what gave way within one might never come to an end.
        self._line.call_store(place.method, place.url, **self._part(file, place.offset, place.length, {}))

    def _part(
        self,
        file: BinaryIO,
        offset: int,
        length: int,
        headers: Mapping[str, str],
        gives_way: Callable[[], bool] = never,
    ) -> dict[str, Any]:
        """Of a request: so many of the file's bytes from `offset` on."""
        file.seek(offset)
        content = self._uplink.paced(file) if self._uplink else file
        return {
            "content": giving_way(content, length, gives_way),
            "headers": {**headers, "Content-Length": str(length)},
        }

    def get_episode(self, id: str, path: Path) -> None:
        try:
            with self._line.streaming(f"/v1/episodes/{id}") as (said, hash):
                if not hash:
                    raise EpisodeInvalid(wire.HASH_HEADER, "is missing in the answer", f"is {self.url} a hub?")
                copy_verified(said.iter_bytes(), path, hash)
        except httpx.RequestError as error:
            raise self._line.away(error) from error
        except EpisodeInvalid as error:
            self._line.call("POST", f"/v1/episodes/{id}/check")  # says so if it is damaged there
            raise HubUnavailable(self.url, f"sent other bytes than it has ({error})", "fetch it again") from error

    def episodes(self, *, task: str = "", outcome: str = "", limit: int = 1000) -> Sequence[Mapping[str, Any]]:
        said = self._line.get("/v1/episodes", task=task, outcome=outcome, limit=limit)
        rows: list[Mapping[str, Any]] = self._line.part(said, "episodes")
        return rows

    def annotate(self, annotation: Annotation) -> int:
        return int(self._line.part(self._line.ask("POST", "/v1/annotations", json=annotation.to_json()), "seq"))

    def annotations(self, episode: str) -> Sequence[Annotation]:
        said = self._line.get(f"/v1/episodes/{episode}/annotations")
        return [Annotation.from_json(item) for item in self._line.part(said, "annotations")]

    def events(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> Sequence[Event]:
        said = self._line.get("/v1/events", wait_s, after=after, limit=limit, wait=wait_s)
        return wire.told(list[Event], self._line.part(said, "events"))

    # ------------------------------------------------------------------ releases

    def claim_lease(self, holder: str) -> LearnerLease:
        return wire.told(LearnerLease, self._line.ask("POST", "/v1/lease", json={"holder": holder}))

    def renew_lease(self, lease: LearnerLease) -> LearnerLease:
        return wire.told(LearnerLease, self._line.ask("PUT", "/v1/lease", json=asdict(lease)))

    def put_blob(self, hash: str, data: bytes) -> None:
        # In pieces: of one large object, the rest would be copied whenever the socket has taken some.
        pieces = (data[at : at + IN_ONE_GO] for at in range(0, len(data), IN_ONE_GO))
        self._line.call("PUT", f"/v1/blobs/{hash}", content=pieces, headers={"Content-Length": str(len(data))})

    def get_blob(self, blob: BlobEntry) -> bytes:
        file = BytesIO()
        self.fetch_blob(blob, file)
        return file.getvalue()

    def fetch_blob(self, blob: BlobEntry, file: BinaryIO, *, gives_way: Callable[[], bool] = never) -> None:
        """What a broken line has let through is kept; the rest alone is fetched again."""
        if self._cache and (cached := self._cache.blob(blob, gives_way)) is not None:
            file.truncate(0)
            file.seek(0)
            file.write(cached)
            return
        self._download(blob, file, gives_way, {})

    def stored_blob(self, blob: BlobEntry) -> bytes:
        """`get_blob`'s as the hub's store has it now, whatever the hub or a cache on the way still holds in memory."""
        file = BytesIO()
        self._download(blob, file, never, {"Cache-Control": "no-cache"})
        return file.getvalue()

    def _download(
        self, blob: BlobEntry, file: BinaryIO, gives_way: Callable[[], bool], asking: Mapping[str, str]
    ) -> None:
        @contextmanager
        def ask(headers: Mapping[str, str]) -> Iterator[httpx.Response]:
            with self._line.streaming(f"/v1/blobs/{blob.hash}", {**headers, **asking}) as (said, _):
                yield said

        try:
            download(ask, file, blob.size, gives_way)
        except httpx.RequestError as error:
            raise self._line.away(error) from error

    def draft(self, draft: Encoding, lease: LearnerLease) -> None:
        self._line.call("POST", "/v1/drafts", json={"draft": asdict(draft), "lease": asdict(lease)})

    def publish(self, release: Release, lease: LearnerLease) -> Release:
        said = self._line.ask("POST", "/v1/releases", json={"release": release.to_json(), "lease": asdict(lease)})
        return wire.release_from_json(said)

    def steering(self) -> Steering:
        return wire.told(Steering, self._line.get("/v1/steering"))

    def promote(self, version: int) -> Steering:
        """Move `stable` to a release, and end a hold."""
        return self._steer("/v1/channels/stable", version=version)

    def roll_back(self, version: int = 0, *, reset_learner: bool = False) -> Steering:
        """Move `stable` back and hold it (0: to where it was before), with `reset_learner` the learner too."""
        return self._steer("/v1/channels/stable", version=version, held=True, reset_learner=reset_learner)

    def hold(self) -> Steering:
        """Keep `stable` where it is until it is promoted, or `resume` is called."""
        return self._steer("/v1/channels/stable", held=True)

    def resume(self) -> Steering:
        """End a hold."""
        return self._steer("/v1/channels/stable", held=False)

    def pin(self, robot: str, version: int) -> Steering:
        """Have a robot run this release whatever `stable` is; 0: no longer."""
        return self._steer(f"/v1/pins/{_in_a_path(robot)}", version=version)

    def tallies(self, purpose: str = "online") -> Sequence[Tally]:
        """How robots did, by release, in episodes of this purpose."""
        said = self._line.get("/v1/tallies", purpose=purpose)
        return wire.told(list[Tally], self._line.part(said, "tallies"))

    def release(self, version: int) -> Release:
        return wire.release_from_json(self._line.get(f"/v1/releases/{version}"))

    def releases(self, *, limit: int = 1000) -> Sequence[Release]:
        said = self._line.get("/v1/releases", limit=limit)
        return [wire.release_from_json(item) for item in self._line.part(said, "releases")]

    def channel(self, name: str, *, after: int = 0, wait_s: float = 0.0) -> Release | None:
        said = self._line.get(f"/v1/channels/{name}", wait_s, after=after, wait=wait_s)
        manifest = self._line.part(said, "release")
        return wire.release_from_json(manifest) if manifest else None

    def coming(self, name: str, *, after: int = 0, blobs: int = 0, wait_s: float = 0.0) -> Release | Encoding | None:
        path = f"/v1/channels/{name}/coming"
        said = self._line.get(path, wait_s, after=after, blobs=blobs, wait=wait_s)
        return wire.coming_from_json(self._line.part(said, "release"), self._line.part(said, "draft"))

    # ------------------------------------------------------------------ fleet

    def register(self, registration: Registration) -> None:
        self._line.call("POST", "/v1/robots", json=wire.registration_to_json(registration))

    def forget(self, robot: str) -> None:
        """Take a robot that is gone for good out of the fleet's view, and end its pin; its episodes stay."""
        self._line.call("DELETE", f"/v1/robots/{_in_a_path(robot)}")

    def beat(self, statuses: Sequence[RobotStatus]) -> Sequence[Orders]:
        said = self._line.ask("POST", "/v1/beats", json=[*map(asdict, statuses)])
        return wire.told(list[Orders], said)

    def report_learner(self, status: LearnerStatus) -> LearnerOrders:
        return wire.told(LearnerOrders, self._line.ask("POST", "/v1/learner", json=asdict(status)))

    def fleet(self) -> Fleet:
        return wire.fleet_from_json(self._line.get("/v1/fleet"))

    def _steer(self, path: str, **said: Any) -> Steering:
        return wire.told(Steering, self._line.ask("PUT", path, json=said))


def _in_a_path(robot: str) -> str:
    if not is_name(robot):
        raise UnknownName("robot", f"{robot!r} is no name of a robot", "`fleetloop status` shows the robots' names")
    return quote(robot, safe="")
