"""Which releases' weights somebody needs: channels, people, robots, and whoever goes from one of them to another."""

from collections.abc import Callable, Collection, Sequence
from functools import cache

from fleetloop.core.hub import EDGE, STABLE
from fleetloop.core.release import Release
from fleetloop.hub.catalog.catalog import Records
from fleetloop.hub.releases.helm import existing
from fleetloop.weights.route import NOTHING, route

Manifest = Callable[[int], Release]


def surplus(records: Records, running: Collection[int], keep: int) -> Sequence[int]:
    """The releases whose weights are kept and nobody needs, oldest first.

    Args:
        running: what robots run, or ran when they were last heard.
        keep: how many of the newest are needed in any case.
    """
    held, manifest = records.versions(), cache(lambda version: existing(records, version))
    if len(held) <= keep:
        return []
    targets = _targets(records, manifest).intersection(held)
    needed = targets | set(held[-keep:]) | set(running).intersection(held)
    ways = [(version, NOTHING) for version in needed] + [(target, have) for target in targets for have in set(running)]
    for target, have in ways:
        for hop in route(manifest(target), manifest, have, {}) or ():
            needed.add(hop.release.version)
    return [version for version in held if version not in needed]


def _targets(records: Records, manifest: Manifest) -> set[int]:
    """What a robot may be told to run: now, or by a rollback that names no version."""
    steering, channels = records.standings.steering(), [records.channel(name) for name in (EDGE, STABLE)]
    before = [manifest(version).parent for version in channels if version]
    return {*channels, *before, steering.before, steering.candidate, *steering.pins.values()}
