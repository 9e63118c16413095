"""Plug-ins by name, from entry points: algorithms, policies, robots, operators, judges.

How a plug-in of each kind is made is said in docs/reference/plugins.md. Its options come first, checked against its own
model `Options`; None where it has no such model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fleetloop.core.errors import DEBUG, FleetLoopError, PluginBroken, UnknownName

KINDS = ("algorithms", "policies", "robots", "operators", "judges")


@dataclass(frozen=True)
class Installed:
    """A plug-in as the table of them shows it.

    Attributes:
        origin: the distribution that brings it, with its version.
        error: why it can't be used; empty if it can.
    """

    kind: str
    name: str
    origin: str
    error: str


@cache
def plugin(kind: str, name: str) -> Any:
    """The class that the entry point `fleetloop.KIND: name` points to.

    Once found it stays: robots ask at every release, and the search reads the metadata of all that is installed.

    Raises:
        UnknownName: naming the known ones.
        PluginBroken: if it is installed and can't be imported.
    """
    require_installed(kind, name)
    (point,) = entry_points(group=f"fleetloop.{kind}", name=name)
    return _loaded(kind, point)


@contextmanager
def making(kind: str, name: str) -> Iterator[None]:
    """Around the making of a plug-in. Raises PluginBroken in place of what other people's code raises by mistake."""
    try:
        yield
    except FleetLoopError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginBroken(f"{kind}: {name}", f"can't be made ({said})", f"{DEBUG}=1 shows where") from error


def require_installed(kind: str, name: str) -> None:
    """Raise UnknownName unless there is such a plug-in, or PluginBroken if two packages bring it; imports nothing."""
    named = [point for point in entry_points(group=f"fleetloop.{kind}") if point.name == name]
    if len(named) > 1:
        origins = " and ".join(sorted(_origin(point) for point in named))
        raise PluginBroken(f"{kind}: {name}", f"is brought by {origins}", "uninstall one of them")
    if not named:
        known = sorted(point.name for point in entry_points(group=f"fleetloop.{kind}"))
        raise UnknownName(f"{kind}: {name}", "is not installed", f"known: {', '.join(known) or 'none'}")


def installed() -> list[Installed]:
    """Every plug-in, by kind and name. Each is imported; one that fails says why and harms no other."""
    rows = []
    for kind in KINDS:
        for point in sorted(entry_points(group=f"fleetloop.{kind}"), key=lambda item: item.name):
            error = ""
            try:
                plugin(kind, point.name)
            except PluginBroken as broken:
                error = broken.problem
            rows.append(Installed(kind, point.name, _origin(point), error))
    return rows


def _loaded(kind: str, point: EntryPoint) -> Any:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise PluginBroken(
            f"{kind}: {point.name}",
            f"can't be imported from {_origin(point)} ({type(error).__name__}: {' '.join(str(error).split())})",
            _remedy(point),
        ) from error


def _remedy(point: EntryPoint) -> str:
    if point.extras and point.dist:
        return f"pip install '{point.dist.name}[{','.join(point.extras)}]'"
    shows = f"from {point.module} import {point.attr}" if point.attr else f"import {point.module}"
    return f"`python -c '{shows}'` shows where; the rest works without it"


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
