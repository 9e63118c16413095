"""Large episodes, and their uploads by hand, call by call."""

from pathlib import Path

import httpx
from hub_world import sealed

from fleetloop.core.recording import Sealed
from fleetloop.hub.http import wire
from fleetloop.hub.http.client import IN_ONE_GO


def large(outbox: Path, **meta: object) -> Sealed:
    """More than goes up in one request."""
    episode = sealed(outbox, instruction="put " * 300_000, **meta)
    assert episode.size > 2 * IN_ONE_GO
    return episode


def ask(http: httpx.Client, episode: Sealed, size: int | None = None) -> httpx.Response:
    headers = {wire.LENGTH_HEADER: str(size or episode.size)}
    return http.put(f"/v1/uploads/{episode.meta.id}/{episode.hash}", headers=headers)


def send(http: httpx.Client, episode: Sealed, data: bytes, offset: int = 0) -> httpx.Response:
    """Bytes to wherever the hub wants them, be they not all that may go there."""
    place = ask(http, episode).json()
    assert place["offset"] == offset
    assert place["length"] == episode.size - offset
    headers = {wire.OFFSET_HEADER: str(offset)} if place["method"] == "PATCH" else {}
    return http.request(place["method"], place["url"], content=data, headers=headers)


def commit(http: httpx.Client, episode: Sealed) -> httpx.Response:
    return http.post(f"/v1/uploads/{episode.meta.id}/{episode.hash}")
