"""Plug-ins by name, from entry points: algorithms, policies, robots, operators, judges."""

from importlib.metadata import entry_points
from typing import Any

from fleetloop.core.errors import UnknownName

KINDS = ("algorithms", "policies", "robots", "operators", "judges")


def plugin(kind: str, name: str) -> Any:
    """The class that the entry point `fleetloop.KIND: name` points to.

    Raises:
        UnknownName: naming the known ones.
    """
    known = {point.name: point for point in entry_points(group=f"fleetloop.{kind}")}
    if name not in known:
        raise UnknownName(f"{kind}: {name}", "is not installed", f"known: {', '.join(sorted(known)) or 'none'}")
    return known[name].load()
