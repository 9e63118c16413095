"""Hubs whose retention is advanced by hand."""

from collections.abc import Callable
from pathlib import Path

from hub_world import TASKS, put, sealed

from fleetloop.core.clock import Virtual
from fleetloop.core.hub import LearnerStatus
from fleetloop.hub.service import HubService

SHELF, WALLS = TASKS
Start = Callable[..., HubService]


def put_some(hub: HubService, outbox: Path, *sources: str, **meta: object) -> list[str]:
    episodes = [sealed(outbox, item, **meta) for item in sources]
    for episode in episodes:
        put(hub, episode)
    return [episode.meta.id for episode in episodes]


def sweep(hub: HubService, clock: Virtual) -> None:
    """Let it do all that is due."""
    clock.advance(1e3)
    while hub.retention.step(clock.now()) <= clock.now():
        pass


def living(hub: HubService) -> list[str]:
    return [row["id"] for row in reversed(hub.episodes())]


def tombstones(hub: HubService) -> list[str]:
    return [event.ref for event in hub.events(0) if event.kind == "tombstone"]


def learner_kept(hub: HubService, cursor: int) -> None:
    hub.report_learner(LearnerStatus("run-1", 0, 0, 1 << 40, False, 0.0, checkpoint=cursor))


def stored(hub: HubService, tmp_path: Path) -> set[str]:
    return {path.stem for path in (tmp_path / "hub" / "episodes").iterdir()}


def to_remove(hub: HubService) -> tuple[int, int]:
    with hub._catalog.reading() as records:
        return records.holdings.to_remove()
