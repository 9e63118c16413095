"""Which episodes go into a data set: chosen by what is known of them, before any is fetched."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import typer

from fleetloop.core.episode import Episode, judged
from fleetloop.core.errors import ConfigInvalid, HubRefused, UnknownName
from fleetloop.core.hub import Hub
from fleetloop.core.outcome import Annotation, standing
from fleetloop.core.recording import SEALED

GONE = 410
SHORT = 12  # letters by which specifications are told apart


@dataclass(frozen=True)
class Known:
    """What is known of an episode. `spec`: how the hash of its robot's specification begins."""

    id: str
    task: str
    robot: str
    spec: str


class Place(Protocol):
    """Where episodes are."""

    @property
    def known(self) -> Sequence[Known]:
        """In their order, without those that are excluded or gone."""
        ...

    def episodes(self, chosen: Sequence[Known]) -> Iterator[Episode]: ...


class InDirectory:
    """Sealed episodes on this machine. Raises ConfigInvalid if there are none, EpisodeInvalid for what is none."""

    def __init__(self, place: Path) -> None:
        self._paths: dict[str, Path] = {}
        self.known: list[Known] = []
        for path in sorted(place.glob(f"*{SEALED}")):
            meta = Episode.open(path).meta
            if meta.id in self._paths:
                problem = f"{path} and {self._paths[meta.id].name} are one episode"
                raise ConfigInvalid("--from", problem, "leave one of them there")
            self._paths[meta.id] = path
            self.known.append(Known(meta.id, meta.task, meta.robot, meta.spec.hash()[:SHORT]))
        if not self.known:
            raise ConfigInvalid("--from", f"{place} holds no sealed episodes", f"they are called ID{SEALED}")

    def episodes(self, chosen: Sequence[Known]) -> Iterator[Episode]:
        return (Episode.open(self._paths[one.id]) for one in chosen)


class AtHub:
    """All that the hub has, as annotations would have it; fetched into `place`, one at a time."""

    def __init__(self, hub: Hub, place: Path) -> None:
        self._hub, self._place = hub, place
        self._said: dict[str, list[Annotation]] = {}
        rows, after = list[Mapping[str, Any]](), 0
        while events := hub.events(after):
            after = events[-1].seq
            rows += [event.data for event in events if event.kind == "episode" and not event.data.get("tombstone")]
            for event in events:
                if event.kind == "annotation":
                    annotation = Annotation.from_json(dict(event.data))
                    self._said.setdefault(annotation.episode, []).append(annotation)
        known = (Known(row["id"], row["task"], row["robot"], row["spec_hash"][:SHORT]) for row in rows)
        self.known = [one for one in known if not standing(self._said.get(one.id, []), "exclude")]

    def episodes(self, chosen: Sequence[Known]) -> Iterator[Episode]:
        for one in chosen:
            path = self._place / one.id
            try:
                self._hub.get_episode(one.id, path)
            except HubRefused as error:
                if error.status != GONE:
                    raise
                typer.echo(f"left out: {error}", err=True)
                continue
            yield judged(Episode.open(path), self._said.get(one.id, []))
            path.unlink()  # it stays mapped for as long as it is needed


def chosen_by(known: Sequence[Known], *, task: str, robot: str, spec: str) -> list[Known]:
    """Those of this task, of this robot, of robots of this specification; empty for any.

    Raises:
        UnknownName: for one that none of them has, with those that they have.
    """
    chosen = list(known)
    for name, wanted in (("task", task), ("robot", robot), ("spec", spec[:SHORT])):
        had = sorted({getattr(one, name) for one in chosen})
        if wanted and wanted not in had:
            raise UnknownName(f"--{name}", f"there is no episode of {wanted!r}", f"known: {', '.join(had) or 'none'}")
        chosen = [one for one in chosen if wanted in ("", getattr(one, name))]
    return chosen


def of_one_kind(chosen: Sequence[Known], spec: str) -> list[Known]:
    """Those of robots of this specification; says how many have another one, and which."""
    for other, count in Counter(one.spec for one in chosen if one.spec != spec).items():
        what = f"{count} episodes of robots of specification {other}, for this data set's have {spec}"
        typer.echo(f"left out: {what}; give them a directory of their own, with --spec {other}", err=True)
    return [one for one in chosen if one.spec == spec]
