"""The way to the hub: calls that are lost, answered in vain, repeated late, or that bring other bytes."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fleetloop.core.errors import HubRefused, HubUnavailable
from fleetloop.hub.service import HubService

REPEATABLE = ("put_episode", "put_blob", "publish", "beat", "register")


@dataclass(frozen=True)
class Odds:
    """How likely each misfortune is, each time that it could happen."""

    crash_at_step: float = 0.004
    crash_at_disk: float = 0.01
    power: float = 0.25  # that a crash is a power cut of the whole host
    disk_refuses: float = 0.004
    request_lost: float = 0.05
    answer_lost: float = 0.05
    repeated: float = 0.08
    bytes_flipped: float = 0.05


CALM = Odds(*(0.0,) * 8)


class HubProcess:
    """The hub's service: it acts when it is called, and retention of its own accord."""

    def __init__(self, service: HubService, later: Callable[[float, Callable[[], Any]], None]) -> None:
        """`later(pause, call)` does something of its own accord, if it still lives by then."""
        self.service, self.later = service, later
        self.threads = (lambda now: max(service.keep_house(now) - now, 0.1),)

    def serve(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kwargs = {**kwargs, "wait_s": 0.0} if "wait_s" in kwargs else kwargs
        return getattr(self.service, name)(*args, **kwargs)


class Line:
    """A part's way to the hub of a world."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._call(name, args, kwargs)

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        world, odds, rng = self._world, self._world.odds, self._world.rng
        if rng.random() < odds.request_lost:
            raise HubUnavailable("hub", "the request was lost")
        if name == "put_episode":
            args = (args[0], self._copied(args[1]), args[2])
        if name == "publish":
            world.offered.add(args[0].result_hash)
        answer = world.serve(name, args, kwargs)
        if name in REPEATABLE and rng.random() < odds.repeated:
            late = world.agenda.clock.now() + 2.0 * rng.random()
            world.agenda.at(late, lambda now: self._repeat(name, args, kwargs))
        if rng.random() < odds.answer_lost:
            raise HubUnavailable("hub", "the answer was lost")
        if name == "put_episode":
            world.acknowledged.add(answer.id)
        if name == "fetch_blob" and rng.random() < odds.bytes_flipped:
            _flip(args[1], rng)
        return answer

    def _repeat(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The same request arrives once more, long after; nobody hears the answer."""
        try:
            self._world.serve(name, args, kwargs)
        except (HubUnavailable, HubRefused) as error:
            self._world.tell(f"a repeated {name} was refused: {error}")

    def _copied(self, path: Path) -> Path:
        """What is under way stays what it was, whatever becomes of the file."""
        copy: Path = self._world.directory / "wire" / path.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
        return copy


def _flip(file: BinaryIO, rng: random.Random) -> None:
    """The last byte that came; what is appended to goes on behind it."""
    file.seek(-1, 2)
    last = file.tell()
    file.truncate()
    file.write(bytes([rng.randrange(256)]))
    assert file.tell() == last + 1
