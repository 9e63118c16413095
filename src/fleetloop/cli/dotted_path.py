"""Entries of a configuration by their dotted path, as flags and `--set` name them."""

from typing import Any

from fleetloop.core.errors import ConfigInvalid


def put(values: dict[str, Any], name: str, value: Any) -> None:
    """Set the entry with this dotted path, e.g. `learner.batch`, or `robots.0.site` in a list that is there."""
    *parents, last = name.split(".")
    place: Any = values
    for depth, parent in enumerate(parents):
        if isinstance(place, list):
            place = place[_index(place, parent, name)]
            continue
        if not isinstance(place.get(parent), dict | list):
            if place.get(parent) is not None:
                raise ConfigInvalid(".".join(parents[: depth + 1]), "is a value and has no keys")
            place[parent] = {}
        place = place[parent]
    if isinstance(place, list):
        place[_index(place, last, name)] = value
    else:
        place[last] = value


def _index(place: list[Any], text: str, name: str) -> int:
    if not text.isdecimal() or int(text) >= len(place):
        raise ConfigInvalid(name, f"{text!r} is no index of this list", f"use 0 to {len(place) - 1}")
    return int(text)
