"""What is wrong with a configuration, in words: the dotted path, the nearest valid key, what is allowed."""

import difflib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fleetloop.core.errors import ConfigInvalid

BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
MAPPINGS = (dict, Mapping)
Place = Sequence[int | str]


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> ConfigInvalid:
    """The first problem as a ConfigInvalid, with the number of the others."""
    problems = error.errors()
    # Unknown keys first: the value that is then missing elsewhere is often the same slip.
    first = min(problems, key=lambda item: item["type"] != "extra_forbidden")
    said = _unknown(first, model, prefix) if first["type"] == "extra_forbidden" else _wrong(first, model, prefix)
    if len(problems) == 1:
        return said
    more = f"{len(problems) - 1} more to mend after this"
    return ConfigInvalid(said.field, said.problem, f"{said.remedy} ({more})" if said.remedy else more)


def field_at(model: type[BaseModel], place: Place) -> FieldInfo | None:
    """The field that a validation error's location points at."""
    field: FieldInfo | None = None
    inner: type[BaseModel] | None = model
    is_key = False  # of a mapping, whose values are models
    for part in place:
        if isinstance(part, int) or is_key:
            is_key = False
            continue
        if inner is None or part not in inner.model_fields:
            return None
        field = inner.model_fields[part]
        inner, is_key = _model_in(field.annotation), get_origin(field.annotation) in MAPPINGS
    return field


def allowed(field: FieldInfo) -> str:
    """The limits of a number in words; empty if it has none."""
    limits = [
        f"{word} {getattr(item, bound)}"
        for item in field.metadata
        for bound, word in BOUNDS.items()
        if getattr(item, bound, None) is not None
    ]
    return " and ".join(limits)


def _unknown(problem: ErrorDetails, model: type[BaseModel], prefix: str) -> ConfigInvalid:
    *parents, key = problem["loc"]
    parent = _model_in(field.annotation) if (field := field_at(model, parents)) else model
    names = list((parent or model).model_fields)
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    place = _dotted([*parents, key], prefix)
    if near:
        return ConfigInvalid(place, "is unknown", f"did you mean {_dotted([*parents, near[0]], prefix)}?")
    return ConfigInvalid(place, "is unknown", f"known here: {', '.join(names)}")


def _wrong(problem: ErrorDetails, model: type[BaseModel], prefix: str) -> ConfigInvalid:
    place = _dotted(problem["loc"], prefix)
    if problem["type"] == "missing":
        return ConfigInvalid(place, "is missing")
    if problem["type"] == "value_error":  # said by one of our own checks
        return ConfigInvalid(place or "configuration", problem["msg"].removeprefix("Value error, "))
    field = field_at(model, problem["loc"])
    limits = allowed(field) if field else ""
    wanted = f"allowed: {limits}" if limits else problem["msg"].replace("Input should be", "it must be")
    meaning = f" ({field.description})" if field and field.description else ""
    return ConfigInvalid(place, f"is {problem['input']!r}", wanted + meaning)


def _dotted(place: Place, prefix: str) -> str:
    return ".".join([*([prefix] if prefix else []), *map(str, place)])


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model`, `Model | None`, `tuple[Model, ...]` or `Mapping[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, list, Union, UnionType, *MAPPINGS):
        return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
    return None
