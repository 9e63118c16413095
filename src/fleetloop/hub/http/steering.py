"""The hub's HTTP face, the part about steering: who runs which release, and how it went."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fleetloop.core.episode import PURPOSES
from fleetloop.core.errors import HubRefused
from fleetloop.core.steering import Steering
from fleetloop.hub.service import HubService

Read = Callable[[Request], Awaitable[dict[str, Any]]]


class SteeringFace:
    """One method per route; `read` takes in a JSON object."""

    def __init__(self, service: HubService, read: Read) -> None:
        self._service, self._read = service, read

    async def steering(self, _: Request) -> Response:
        return _told(self._service.steering())

    async def move_stable(self, request: Request) -> Response:
        """`version` alone: promote. With `held`: roll back (0: to where it was before). `held` alone: hold, resume.

        `reset_learner` goes with a rollback.
        """
        said, service = await self._read(request), self._service
        version, held, reset = said.get("version"), _truth(said, "held"), _truth(said, "reset_learner")
        if reset and (version is None or not held):
            raise HubRefused("reset_learner", "goes with a rollback alone", "send `version` and `held` with it")
        if version is None:
            return _told(await run_in_threadpool(service.hold if held else service.resume))
        if not held:
            return _told(await run_in_threadpool(service.promote, _version(version)))
        return _told(await run_in_threadpool(lambda: service.roll_back(_version(version), reset_learner=reset)))

    async def pin(self, request: Request) -> Response:
        version = _version((await self._read(request)).get("version"))
        return _told(await run_in_threadpool(self._service.pin, request.path_params["robot"], version))

    async def tallies(self, request: Request) -> Response:
        purpose = request.query_params.get("purpose", "online")
        if purpose not in PURPOSES:
            raise HubRefused("purpose", f"is {purpose[:40]!r}", f"use one of {', '.join(PURPOSES)}")
        tallies = await run_in_threadpool(self._service.tallies, purpose=purpose)
        return JSONResponse({"tallies": [asdict(tally) for tally in tallies]})


def _version(said: object) -> int:
    if not isinstance(said, int) or isinstance(said, bool) or not 0 <= said < 10**18:
        raise HubRefused("version", f"is {said!r}, not a whole number")
    return said


def _truth(said: Mapping[str, Any], name: str) -> bool:
    value = said.get(name, False)
    if not isinstance(value, bool):
        raise HubRefused(name, f"is {value!r}, not true or false")
    return value


def _told(steering: Steering) -> Response:
    return JSONResponse(asdict(steering))
