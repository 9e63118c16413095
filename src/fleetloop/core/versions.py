"""What runs: versions of FleetLoop and of the packages that bring plug-ins."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from blake3 import blake3

from fleetloop.core.plugins import KINDS

PACKAGE = Path(__file__).parent.parent
DIGITS = 8


@cache
def code_digest() -> str:
    """Of FleetLoop's modules as they are installed: between two versions many commits have the same number."""
    hasher = blake3()
    for path in sorted(PACKAGE.rglob("*.py")):
        hasher.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return hasher.hexdigest()[:DIGITS]


@cache
def versions() -> Mapping[str, str]:
    """By package, of all that bring plug-ins, ours among them; and the digest of our code."""
    points = (point for kind in KINDS for point in entry_points(group=f"fleetloop.{kind}"))
    found = {point.dist.name: point.dist.version for point in points if point.dist}
    return {**dict(sorted(found.items())), "code": code_digest()}
