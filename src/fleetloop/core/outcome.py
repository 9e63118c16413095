"""How an episode ended, who says so, and what was said about it later."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from fleetloop.core.errors import FleetLoopError


class Outcome(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    ABORTED = "aborted"


class Judge(StrEnum):
    """Who judged, in rising rank: a person's word stands above the simulator's, and that above a classifier's."""

    NOBODY = "nobody"
    CLASSIFIER = "classifier"
    SIMULATOR = "simulator"
    PERSON = "person"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {judge: rank for rank, judge in enumerate(Judge)}


@dataclass(frozen=True)
class Annotation:
    """A later statement about an episode. Fields left None say nothing.

    Attributes:
        id: ULID.
        episode: the episode that it is about.
        author: who says so; judge: in what capacity.
        wall_s: when, Unix seconds.
        outcome: how the episode really ended.
        exclude: True keeps the episode out of every buffer.
        quality: 0 (worthless) to 1 (exemplary).
    """

    id: str
    episode: str
    author: str
    judge: Judge
    wall_s: float
    outcome: Outcome | None = None
    exclude: bool | None = None
    quality: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Annotation":
        """Raises FleetLoopError naming the field that is wrong."""
        values = dict(data)
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise FleetLoopError(f"annotation.{min(unknown)}", "is no field of an annotation")
        for name in ("id", "episode", "author", "judge", "wall_s"):
            if name not in values:
                raise FleetLoopError(f"annotation.{name}", "is missing")
        values["judge"] = _member(Judge, "judge", values["judge"])
        if values.get("outcome") is not None:
            values["outcome"] = _member(Outcome, "outcome", values["outcome"])
        quality = values.get("quality")
        if quality is not None and not (isinstance(quality, int | float) and 0 <= quality <= 1):
            raise FleetLoopError("annotation.quality", f"is {quality!r}", "use a number from 0 to 1")
        if values.get("exclude") not in (None, True, False):
            raise FleetLoopError("annotation.exclude", f"is {values['exclude']!r}", "use true or false")
        return cls(**values)


def standing(annotations: Sequence[Annotation], field: str) -> Any:
    """The value of `field` that holds: the newest statement of the highest-ranking judge; None if nobody said any.

    They are in the order in which they arrived at the hub: what an author's clock says counts for nothing.
    """
    said = [item for item in annotations if getattr(item, field) is not None]
    return getattr(max(reversed(said), key=lambda item: item.judge.rank), field) if said else None


def _member(kind: type[Judge] | type[Outcome], field: str, value: object) -> Judge | Outcome:
    try:
        return kind(str(value))
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise FleetLoopError(f"annotation.{field}", f"is {value!r}", f"use one of {known}") from None
