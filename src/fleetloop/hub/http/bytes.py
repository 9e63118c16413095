"""Where episodes and blobs enter and leave over HTTP: streamed to the disk, or sent on to the hub's store."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path

from starlette import types as asgi
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from fleetloop.core.errors import HubRefused
from fleetloop.core.hub import Acknowledgement
from fleetloop.hub.http import wire
from fleetloop.hub.options import HubOptions
from fleetloop.hub.service import HubService
from fleetloop.hub.storage.objects import CHUNK, Incoming, Link, Part, check_size
from fleetloop.hub.tokens import Scope, Token

ANYBODY = Token("", Scope.ROBOT)
PIECE = 64 << 10  # bytes sent at once: who takes them slowly lets no more than that pile up


class Carrier:
    """One method per route. Whatever goes wrong, nothing is kept that was not checked."""

    def __init__(self, service: HubService, options: HubOptions) -> None:
        self._service, self._options = service, options

    async def put_episode(self, request: Request) -> Response:
        id, hash = request.path_params["id"], request.headers.get(wire.HASH_HEADER, "")
        if not hash:
            raise HubRefused(wire.HASH_HEADER, "is missing", "send the blake3 of the file in this header")
        uploads, check_robot = self._service.uploads, holder(request).check_robot
        size = whole("Content-Length", request.headers.get("Content-Length", "0"))
        if 0 < size <= CHUNK:  # one turn in a thread instead of three
            data = await body(request, CHUNK)
            return _acknowledged(await run_in_threadpool(uploads.take, id, data, hash, check_robot))
        with await run_in_threadpool(uploads.incoming) as incoming:
            await _pour(request, incoming, self._options.max_episode_bytes)
            return _acknowledged(await run_in_threadpool(uploads.accept, id, incoming, hash, check_robot))

    async def get_episode(self, request: Request) -> Response:
        found, hash = await run_in_threadpool(self._service.experience.locate, request.path_params["id"])
        return _sent(found, "application/vnd.apache.arrow.file", {wire.HASH_HEADER: hash})

    async def check_episode(self, request: Request) -> Response:
        await run_in_threadpool(self._service.experience.check, request.path_params["id"])
        return JSONResponse({})

    # ------------------------------------------------------------------ uploads that may stop and go on

    async def begin_upload(self, request: Request) -> Response:
        size = whole(wire.LENGTH_HEADER, request.headers.get(wire.LENGTH_HEADER, ""))
        said = await run_in_threadpool(self._service.uploads.begin, *_upload(request), size)
        if isinstance(said, Acknowledgement):
            return _acknowledged(said)
        method, url = ("PUT", said.url) if said.url else ("PATCH", request.url.path)
        place = {"method": method, "url": url, "offset": said.offset, "length": said.length}
        return JSONResponse(place, status_code=202)

    async def continue_upload(self, request: Request) -> Response:
        offset = whole(wire.OFFSET_HEADER, request.headers.get(wire.OFFSET_HEADER, ""))
        with await run_in_threadpool(self._service.uploads.append, *_upload(request), offset) as part:
            await _pour(request, part, self._options.max_episode_bytes)
        return JSONResponse({})

    async def commit_upload(self, request: Request) -> Response:
        check_robot = holder(request).check_robot
        return _acknowledged(await run_in_threadpool(self._service.uploads.commit, *_upload(request), check_robot))

    # ------------------------------------------------------------------ weights

    async def put_blob(self, request: Request) -> Response:
        hash, publishing = request.path_params["hash"], self._service.publishing
        with await run_in_threadpool(publishing.incoming) as incoming:
            await _pour(request, incoming, self._options.max_blob_bytes)
            await run_in_threadpool(publishing.accept_blob, hash, incoming)
        return JSONResponse({}, status_code=201)

    async def get_blob(self, request: Request) -> Response:
        hash, publishing = request.path_params["hash"], self._service.publishing
        found: bytes | Path | Link | None
        past_memory = "no-cache" in request.headers.get("Cache-Control", "")
        if past_memory or "Range" in request.headers:  # the rest of one that broke off is read from the disk
            found = await run_in_threadpool(publishing.locate_blob, hash)
        elif (found := publishing.shelf.held(hash)) is None:
            found = await run_in_threadpool(publishing.find_blob, hash)
        if isinstance(found, Link):  # which does not last
            return _sent(found, "application/octet-stream", {})
        # Its name is its hash: whoever has it, a cache on the way as well, need never ask again.
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "ETag": f'"{hash}"'}
        return _sent(found, "application/octet-stream", headers)


def holder(request: Request) -> Token:
    """Who calls; where the hub asks for no token, somebody who may speak for every robot."""
    found: Token = getattr(request.state, "holder", ANYBODY)
    return found


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body, of at most `limit` bytes. As much again is read and dropped, so that its sender hears the refusal."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            yield chunk
        elif size > 2 * limit:
            break
    check_size(size, limit)


async def body(request: Request, limit: int) -> bytes:
    return b"".join([chunk async for chunk in chunks(request, limit)])


def whole(name: str, text: str) -> int:
    """Raises HubRefused (400) for what is no whole number."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HubRefused(name, f"is {text[:40]!r}, not a whole number")
    return int(text)


async def _pour(request: Request, sink: Incoming | Part, limit: int) -> None:
    """Write the body as it comes; of one that breaks off, all that came."""
    waiting: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks(request, limit):
            waiting.append(chunk)
            size += len(chunk)
            if size >= CHUNK:
                pouring, waiting, size = waiting, [], 0
                await run_in_threadpool(_write, sink, pouring)
    except ClientDisconnect:
        await run_in_threadpool(_write, sink, waiting)
        raise
    await run_in_threadpool(_write, sink, waiting)


def _write(sink: Incoming | Part, chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        sink.write(chunk)


def _upload(request: Request) -> tuple[str, str]:
    return request.path_params["id"], request.path_params["hash"]


def _acknowledged(said: Acknowledgement) -> Response:
    return JSONResponse(asdict(said), status_code=200 if said.known else 201)


class Held(Response):
    """Bytes in memory, a piece at a time, as fast as they are taken: of a whole one the rest would be copied."""

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), PIECE):
            await send({"type": "http.response.body", "body": self.body[start : start + PIECE], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _sent(found: bytes | Path | Link, media_type: str, headers: dict[str, str]) -> Response:
    if isinstance(found, Link):
        return RedirectResponse(found.url, headers=headers)
    if isinstance(found, bytes):
        return Held(found, headers={**headers, "Accept-Ranges": "bytes"}, media_type=media_type)
    return FileResponse(found, headers=headers, media_type=media_type)
