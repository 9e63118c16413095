"""The hub's HTTP face: JSON in and out, long polls without a thread each."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fleetloop.core.errors import FleetLoopError, HubFailed, HubRefused
from fleetloop.hub.http import wire
from fleetloop.hub.http.bytes import Carrier, body, holder, whole
from fleetloop.hub.http.doorbell import Doorbell
from fleetloop.hub.http.doorman import Doorman
from fleetloop.hub.http.pages import refuse_pages
from fleetloop.hub.http.steering import SteeringFace
from fleetloop.hub.options import HubOptions, is_loopback
from fleetloop.hub.service import HubService
from fleetloop.hub.tokens import EVERYBODY, Scope

MAX_JSON_BYTES = 16_000_000
LONGEST_WAIT_S = 60.0
RETRY_AFTER_S = 2
JSON = "application/json"
QUICK_THREADS = 8  # for what is asked for all the time and waits for no disk, however many uploads stand in line

Call = Callable[[Request], Awaitable[Response]]


class Face:
    """One method per route. What blocks runs in a thread; what waits does not.

    Attributes:
        app: the ASGI application.
    """

    def __init__(self, service: HubService, options: HubOptions) -> None:
        self._service, self._options = service, options
        self._doorbells: tuple[Doorbell, ...] = ()
        self._steering = SteeringFace(service, _read)
        self.app = Starlette(
            routes=self._routes(),
            lifespan=self._lifespan,
            exception_handlers={
                FleetLoopError: _refuse,
                HTTPException: _no_route,
                ClientDisconnect: _hung_up,
                Exception: _fail,
            },
        )

    def hang_up(self) -> None:
        """End every long poll, so that the server can stop. Callable from a signal handler of the loop's thread."""
        for doorbell in self._doorbells:
            doorbell.close()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._quick = CapacityLimiter(QUICK_THREADS)
        self._doorman = Doorman(self._service.tokens, self._quick)
        self._events_bell = Doorbell(self._service.experience.news, self._quick)
        self._channel_bell = Doorbell(self._service.publishing.news, self._quick)
        self._draft_bell = Doorbell(self._service.publishing.drafts.news, self._quick)
        self._doorbells = (self._events_bell, self._channel_bell, self._draft_bell)
        yield
        self.hang_up()

    def _routes(self) -> list[Route]:
        carrier = Carrier(self._service, self._options)
        robot, learner, operator = (frozenset({scope}) for scope in Scope)
        calls = [
            ("GET", "/v1/episodes", self.episodes, learner | operator),
            ("PUT", "/v1/episodes/{id}", carrier.put_episode, robot | operator),
            ("GET", "/v1/episodes/{id}", carrier.get_episode, learner | operator),
            ("POST", "/v1/episodes/{id}/check", carrier.check_episode, learner | operator),
            ("PUT", "/v1/uploads/{id}/{hash}", carrier.begin_upload, robot | operator),
            ("PATCH", "/v1/uploads/{id}/{hash}", carrier.continue_upload, robot | operator),
            ("POST", "/v1/uploads/{id}/{hash}", carrier.commit_upload, robot | operator),
            ("GET", "/v1/episodes/{id}/annotations", self.annotations, learner | operator),
            ("POST", "/v1/annotations", self.annotate, operator),
            ("GET", "/v1/events", self.events, learner | operator),
            ("POST", "/v1/lease", self.claim_lease, learner),
            ("PUT", "/v1/lease", self.renew_lease, learner),
            ("PUT", "/v1/blobs/{hash}", carrier.put_blob, learner),
            ("GET", "/v1/blobs/{hash}", carrier.get_blob, EVERYBODY),
            ("POST", "/v1/drafts", self.draft, learner),
            ("POST", "/v1/releases", self.publish, learner),
            ("GET", "/v1/releases", self.releases, EVERYBODY),
            ("GET", "/v1/releases/{version}", self.release, EVERYBODY),
            ("GET", "/v1/steering", self._steering.steering, learner | operator),
            ("PUT", "/v1/channels/stable", self._steering.move_stable, operator),
            ("PUT", "/v1/pins/{robot}", self._steering.pin, operator),
            ("GET", "/v1/tallies", self._steering.tallies, learner | operator),
            ("GET", "/v1/channels/{name}", self.channel, EVERYBODY),
            ("GET", "/v1/channels/{name}/coming", self.coming, EVERYBODY),
            ("POST", "/v1/robots", self.register, robot),
            ("DELETE", "/v1/robots/{robot}", self.forget, operator),
            ("POST", "/v1/beats", self.beat, robot),
            ("POST", "/v1/learner", self.report_learner, learner),
            ("GET", "/v1/fleet", self.fleet, learner | operator),
        ]
        guarded = [Route(path, self._guarded(call, scopes), methods=[method]) for method, path, call, scopes in calls]
        return [Route("/v1/health", self.health), *guarded]

    def _guarded(self, call: Call, scopes: frozenset[Scope]) -> Call:
        """The call, for holders of a token of one of these scopes.

        Where the hub asks for none: for everybody, but if it is this machine alone, not for pages in its browser.
        """

        async def sound(request: Request) -> Response:
            for name, value in (*request.path_params.items(), *request.query_params.items()):
                if "\0" in value:
                    raise HubRefused(name, "holds NUL", "write whole characters")
            return await call(request)

        async def guarded(request: Request) -> Response:
            kind, _, secret = request.headers.get("Authorization", "").partition(" ")
            secret = secret if kind == "Bearer" else ""
            holder = await self._doorman.holder(secret)
            holder.check_scope(scopes)
            request.state.holder = holder
            return await sound(request)

        async def at_home(request: Request) -> Response:
            refuse_pages(request)
            return await sound(request)

        if self._options.asks_for_tokens:
            return guarded
        return at_home if is_loopback(self._options.host) else sound

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "serving"})

    # ------------------------------------------------------------------ experience

    async def episodes(self, request: Request) -> Response:
        asked = request.query_params
        limit = _number(request, "limit", 1000)

        def look() -> bytes:  # the whole answer, here and below: what is large must not be written in the event loop
            found = self._service.episodes(task=asked.get("task", ""), outcome=asked.get("outcome", ""), limit=limit)
            return wire.dumps({"episodes": list(found)})

        return Response(await run_in_threadpool(look), media_type=JSON)

    async def annotate(self, request: Request) -> Response:
        annotation = wire.annotation_from_json(wire.parse_object(await body(request, MAX_JSON_BYTES)))
        seq = await run_in_threadpool(self._service.annotate, annotation)
        return JSONResponse({"seq": seq}, status_code=201)

    async def annotations(self, request: Request) -> Response:
        said = await run_in_threadpool(self._service.annotations, request.path_params["id"])
        return Response(wire.dumps({"annotations": [item.to_json() for item in said]}), media_type=JSON)

    async def events(self, request: Request) -> Response:
        after, limit = _number(request, "after", 0), _number(request, "limit", 256)

        def look() -> bytes:
            found = self._service.experience.events(after, limit)
            return wire.dumps({"events": [asdict(event) for event in found]}) if found else b""

        answer = await self._events_bell.first((after, limit), look, _wait_s(request))
        return Response(answer or wire.dumps({"events": []}), media_type=JSON)

    # ------------------------------------------------------------------ releases

    async def claim_lease(self, request: Request) -> Response:
        holder = wire.parse_object(await body(request, MAX_JSON_BYTES)).get("holder")
        if not isinstance(holder, str):
            raise HubRefused("holder", f"is {holder!r}, not a text")
        return JSONResponse(asdict(await run_in_threadpool(self._service.claim_lease, holder)))

    async def renew_lease(self, request: Request) -> Response:
        lease = wire.decode(wire.leases, wire.parse(await body(request, MAX_JSON_BYTES)), "lease")
        return JSONResponse(asdict(await run_in_threadpool(self._service.renew_lease, lease)))

    async def draft(self, request: Request) -> Response:
        said = wire.parse_object(await body(request, MAX_JSON_BYTES))
        lease = wire.decode(wire.leases, said.get("lease"), "lease")
        draft = wire.decode(wire.encodings, said.get("draft"), "draft")
        await run_in_threadpool(self._service.draft, draft, lease)
        return JSONResponse({}, status_code=201)

    async def publish(self, request: Request) -> Response:
        said = wire.parse_object(await body(request, MAX_JSON_BYTES))
        lease = wire.decode(wire.leases, said.get("lease"), "lease")
        release = wire.release_from_json(said.get("release"))
        numbered = await run_in_threadpool(self._service.publish, release, lease)
        return JSONResponse(numbered.to_json(), status_code=201)

    async def releases(self, request: Request) -> Response:
        limit = _number(request, "limit", 1000)

        def look() -> bytes:
            return wire.dumps({"releases": [release.to_json() for release in self._service.releases(limit=limit)]})

        return Response(await run_in_threadpool(look), media_type=JSON)

    async def release(self, request: Request) -> Response:
        version = whole("version", request.path_params["version"])
        return JSONResponse((await run_in_threadpool(self._service.release, version)).to_json())

    async def channel(self, request: Request) -> Response:
        name, after = request.path_params["name"], _number(request, "after", 0)

        def look() -> bytes:
            found = self._service.publishing.channel(name, after)
            return wire.dumps({"release": found.to_json()}) if found else b""

        answer = await self._channel_bell.first((name, after), look, _wait_s(request))
        return Response(answer or wire.dumps({"release": None}), media_type=JSON)

    async def coming(self, request: Request) -> Response:
        name, after, blobs = request.path_params["name"], _number(request, "after", 0), _number(request, "blobs", 0)

        def look() -> bytes:
            found = self._service.publishing.coming(name, after, blobs)
            return wire.dumps(wire.coming_to_json(found)) if found else b""

        answer = await self._draft_bell.first((name, after, blobs), look, _wait_s(request))
        return Response(answer or wire.dumps(wire.coming_to_json(None)), media_type=JSON)

    # ------------------------------------------------------------------ fleet

    async def register(self, request: Request) -> Response:
        registration = wire.registration_from_json(wire.parse_object(await body(request, MAX_JSON_BYTES)))
        holder(request).check_robot(registration.robot)
        await run_in_threadpool(self._service.register, registration)
        return JSONResponse({}, status_code=201)

    async def forget(self, request: Request) -> Response:
        await run_in_threadpool(self._service.forget, request.path_params["robot"])
        return JSONResponse({})

    async def beat(self, request: Request) -> Response:
        statuses = wire.decode(wire.statuses, wire.parse(await body(request, MAX_JSON_BYTES)), "statuses")
        for status in statuses:
            holder(request).check_robot(status.robot)
        orders = await run_sync(self._service.beat, statuses, limiter=self._quick)
        return JSONResponse([asdict(order) for order in orders])

    async def report_learner(self, request: Request) -> Response:
        status = wire.decode(wire.learner_statuses, wire.parse(await body(request, MAX_JSON_BYTES)), "learner")
        return JSONResponse(asdict(await run_in_threadpool(self._service.report_learner, status)))

    async def fleet(self, _: Request) -> Response:
        said = await run_in_threadpool(lambda: wire.dumps(wire.fleet_to_json(self._service.fleet())))
        return Response(said, media_type=JSON)


async def _read(request: Request) -> dict[str, Any]:
    return wire.parse_object(await body(request, MAX_JSON_BYTES))


def _number(request: Request, name: str, default: int) -> int:
    return whole(name, request.query_params.get(name, str(default)))


def _wait_s(request: Request) -> float:
    text = request.query_params.get("wait", "0")
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = math.nan
    if not wait_s >= 0:
        raise HubRefused("wait", f"is {text[:40]!r}, not a number of seconds")
    return min(wait_s, LONGEST_WAIT_S)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, FleetLoopError)
    status, body = wire.error_to_json(error)
    return JSONResponse(body, status, headers={"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refusal = HubRefused(request.url.path, f"{error.detail} ({request.method})", status=error.status_code)
    return await _refuse(request, refusal)


async def _hung_up(_: Request, __: Exception) -> Response:
    """Nobody hears this."""
    return Response(status_code=400)


async def _fail(_: Request, __: Exception) -> Response:
    """A fault of ours: the server logs the traceback, the caller is told to come again."""
    status, body = wire.error_to_json(HubFailed("hub", "failed to serve this request", "see the hub's log"))
    return JSONResponse(body, status, headers={"Retry-After": str(RETRY_AFTER_S)})
