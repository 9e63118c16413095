"""What must hold of a small fleet once all faults have ended."""

import shutil
from typing import Any

from fleetloop.core.disk import RealDisk
from fleetloop.core.episode import Episode
from fleetloop.core.errors import FleetLoopError
from fleetloop.hub.options import HubOptions
from fleetloop.hub.rebuild import rebuild
from fleetloop.learner.buffer.buffer import Part as Drawn


def check(world: Any) -> None:
    """Of a world at rest. Raises AssertionError naming the promise that was broken."""
    events = world.events()
    ids = [event.ref for event in events if event.kind == "episode"]
    buried = {event.ref for event in events if event.kind == "tombstone"}
    assert len(ids) == len(set(ids)), f"stored twice: {sorted({id for id in ids if ids.count(id) > 1})}"
    lost = set(world.finished) - set(ids)
    assert not lost, f"finished and not stored: {sorted(lost)}"
    missing = world.acknowledged - set(ids)
    assert not missing, f"acknowledged and not there: {sorted(missing)}"
    listed = [row["id"] for row in world.hub.process.service.episodes()]
    assert set(listed) == set(ids) - buried, "the list and the tombstones don't agree"
    for id in ids:
        fetched = world.directory / "fetched.arrow"
        try:
            world.hub.process.service.get_episode(id, fetched)
        except FleetLoopError as error:
            if id in buried:
                continue  # no loss, but what was asked for
            raise AssertionError(f"stored, and not to be had again: {error}") from error
        if id in world.finished:
            episode = Episode.open(fetched)
            frames, ending = world.finished[id]
            assert len(episode) == frames, f"{id} has {len(episode)} frames of {frames}"
            assert episode.meta.ending.outcome is ending.outcome, f"{id} ended as {episode.meta.ending.outcome}"
    _check_rebuilt(world)
    buffer = world.learner.process.learner.parts.buffer
    held = [held.id for held in buffer.episodes if held.id not in buried]
    assert sorted(held) == sorted(listed), f"the learner holds {len(held)} episodes of {len(listed)}"
    drawn = {id for task in range(len(buffer.tasks)) for id in buffer.episode_ids(buffer.part(task, Drawn.ONLINE))}
    assert not drawn & buried, f"drawn from in spite of their tombstones: {sorted(drawn & buried)}"


def _check_rebuilt(world: Any) -> None:
    """From the hub's objects alone all that it knew can be known again.

    More may be: what it died of before it could say so, as if its answer had been lost.
    """
    copy = world.directory / "copy"
    shutil.copytree(world.hub.host.directory, copy)
    found = rebuild(HubOptions(directory=copy), world.agenda.clock, RealDisk())
    assert not found.damaged, f"damaged objects: {found.damaged}"
    lost = [line for line in found.different if ": had " in line and not line.startswith("channels")]
    assert not lost, f"a catalog made anew lacks: {lost}"
