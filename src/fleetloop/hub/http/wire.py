"""JSON on the wire: what comes in is checked field by field, errors travel with their type."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from fleetloop.core.errors import (
    EpisodeInvalid,
    FleetLoopError,
    HubFailed,
    HubRefused,
    HubUnavailable,
    LeaseLost,
    NotTheHub,
    ReleaseInvalid,
    SpecMismatch,
    UnknownName,
)
from fleetloop.core.hub import (
    Fleet,
    LearnerLease,
    LearnerStatus,
    Member,
    Orders,
    Registration,
    RobotStatus,
)
from fleetloop.core.outcome import Annotation
from fleetloop.core.release import Encoding, Release, check_format
from fleetloop.core.spec import RobotSpec
from fleetloop.core.text import torn

HASH_HEADER = "X-Fleetloop-Hash"
LENGTH_HEADER = "Upload-Length"  # these two are named as in the IETF's draft on resumable uploads
OFFSET_HEADER = "Upload-Offset"
_PLAIN = (EpisodeInvalid, ReleaseInvalid, SpecMismatch, UnknownName, FleetLoopError)
_REFUSALS = (LeaseLost, HubRefused)

NO_REST, FAILED = 416, 500
SOMEBODY_ELSE = "is this a FleetLoop hub? A proxy or a network's log-in page may answer in its place"

T = TypeVar("T")

annotations = TypeAdapter(Annotation)
encodings = TypeAdapter(Encoding)
leases = TypeAdapter(LearnerLease)
learner_statuses = TypeAdapter(LearnerStatus)
statuses = TypeAdapter(list[RobotStatus])
_registrations = TypeAdapter(Registration)
_releases = TypeAdapter(Release)


def parse(body: bytes) -> Any:
    """The JSON value in a request. Numbers that are not finite become null. Raises HubRefused."""
    try:
        value = json.loads(body.decode(), parse_constant=lambda _: None, parse_float=_finite)
        field = torn(value, "body") if b"\\u" in body else ""
    except (ValueError, RecursionError) as error:
        raise HubRefused("body", f"is no JSON ({error})") from error
    if field:
        raise HubRefused(field, "holds half a character (a lone surrogate), or NUL", "write whole ones")
    return value


def _finite(text: str) -> float | None:
    """1e999 is a number in JSON and infinity in Python, which nobody could be told again."""
    value = float(text)
    return value if math.isfinite(value) else None


def dumps(value: object) -> bytes:
    """The body of an answer: in ASCII, which can say whatever was let in once."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def parse_object(body: bytes) -> dict[str, Any]:
    value = parse(body)
    if not isinstance(value, dict):
        raise HubRefused("body", f"is a JSON {type(value).__name__}, not an object")
    return value


def decode(adapter: TypeAdapter[T], data: object, what: str) -> T:
    """Raises HubRefused (422) naming the field that is missing, of the wrong type, or no finite number."""
    try:
        found = adapter.validate_python(data)
    except ValidationError as error:
        raise _wrong(error, what) from error
    for one in found if isinstance(found, list) else [found]:
        for name, value in vars(one).items():
            if isinstance(value, float) and not math.isfinite(value):  # "nan" passes for a number
                raise HubRefused(f"{what}.{name}", f"is {value}, not a finite number", status=422)
    return found


def told(kind: type[T], data: Mapping[str, Any]) -> T:
    """What the hub says, as far as this version knows it: a newer one may say more.

    Raises HubUnavailable if it says less than this version needs, or something else.
    """
    try:
        known: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type]  # a type is hashable
        return known.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or kind.__name__
        problem = f"did not say what is needed ({field}: {first['msg']})"
        raise HubUnavailable("hub", problem, "bring the hub to this version first") from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def check(adapter: TypeAdapter[Any], data: object, what: str) -> None:
    """For what is kept as it came: a number must be one, not a text that `decode` would make into one.

    Raises HubRefused (422) naming the field.
    """
    try:
        adapter.validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise _wrong(error, what) from error


def _wrong(error: ValidationError, what: str) -> HubRefused:
    first = error.errors(include_url=False)[0]
    field = ".".join([what, *map(str, first["loc"])])
    return HubRefused(field, f"is wrong ({first['msg']})", status=422)


# A spec's hash and a manifest's signature depend on how their numbers are written, so pydantic only checks them and
# `from_json` reads them.


def registration_to_json(registration: Registration) -> dict[str, Any]:
    return {**asdict(registration), "spec": registration.spec.to_json()}


def registration_from_json(data: Mapping[str, Any]) -> Registration:
    """Raises HubRefused naming the field; what a later version may say beyond it is not heard."""
    check(_registrations, data, "registration")
    try:
        spec = RobotSpec.from_json(data["spec"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise HubRefused("registration.spec", f"is wrong ({error})", status=422) from error
    return Registration(data["robot"], data["host"], data["site"], tuple(data["tasks"]), spec)


def release_from_json(data: object) -> Release:
    """Raises ReleaseInvalid or HubRefused naming the field."""
    if isinstance(data, dict) and "format" in data:
        check_format(data)
    check(_releases, data, "release")
    assert isinstance(data, dict), "what passed for a Release is an object"
    return Release.from_json(data)


def coming_to_json(coming: Release | Encoding | None) -> dict[str, Any]:
    return {
        "release": coming.to_json() if isinstance(coming, Release) else None,
        "draft": asdict(coming) if isinstance(coming, Encoding) else None,
    }


def coming_from_json(release: Any, draft: Any) -> Release | Encoding | None:
    if release:
        return release_from_json(release)
    return decode(encodings, draft, "draft") if draft else None


def annotation_from_json(data: dict[str, Any]) -> Annotation:
    Annotation.from_json(data)
    return decode(annotations, data, "annotation")


def fleet_to_json(fleet: Fleet) -> dict[str, Any]:
    members = [
        {**asdict(member), "registration": registration_to_json(member.registration)} for member in fleet.members
    ]
    return {**asdict(fleet), "members": members}


def fleet_from_json(data: Mapping[str, Any]) -> Fleet:
    """Raises HubUnavailable as `told`, and HubRefused for what is no registration."""
    try:
        members = tuple(
            Member(
                registration_from_json(member["registration"]),
                told(RobotStatus, member["status"]) if member["status"] else None,
                member["silent_s"],
                told(Orders, member["orders"]),
            )
            for member in data["members"]
        )
        learner = told(LearnerStatus, data["learner"]) if data["learner"] else None
        return told(Fleet, {**data, "members": members, "learner": learner})
    except (KeyError, TypeError) as error:
        raise HubUnavailable("hub", f"answered with something that is no fleet ({error!r})", SOMEBODY_ELSE) from error


def error_to_json(error: FleetLoopError) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of a refusal: by its type, or by what that is a kind of, whichever both sides know."""
    kind = next((known for known in (*_REFUSALS, *_PLAIN[:-1]) if isinstance(error, known)), type(error))
    status = 503 if isinstance(error, HubUnavailable) else getattr(error, "status", 422)
    status = FAILED if isinstance(error, HubFailed) else status
    body = {"type": kind.__name__, "field": error.field, "problem": error.problem, "remedy": error.remedy}
    return status, {"error": body}


def error_from_json(status: int, body: bytes, url: str) -> FleetLoopError:
    """The error that the hub raised; whatever else answered in its place is named by `url`."""
    try:
        said = json.loads(body)["error"]
        field, problem, remedy = str(said["field"]), str(said["problem"]), str(said["remedy"])
    except (ValueError, KeyError, TypeError):
        if status == NO_REST:  # said by whoever serves files, the hub's own server too
            return HubRefused("Range", "begins past the end", status=status)
        return NotTheHub(url, f"answered HTTP {status}", SOMEBODY_ELSE)  # nobody refused anything
    if status >= 500:
        return (HubFailed if status == FAILED else HubUnavailable)(field, problem, remedy)
    for refusal in _REFUSALS:
        if said.get("type") == refusal.__name__:
            return refusal(field, problem, remedy, status=status)
    for plain in _PLAIN:
        if said.get("type") == plain.__name__:
            return plain(field, problem, remedy)
    return HubRefused(field, problem, remedy, status=status)
