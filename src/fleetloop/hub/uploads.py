"""Uploads of episodes: through the hub in one go, or in parts, or past it into its store; taken only when whole."""

import string
from collections.abc import Callable

from fleetloop.core.alarm import Alarms
from fleetloop.core.clock import Clock
from fleetloop.core.errors import EpisodeInvalid, FleetLoopError, HubUnavailable
from fleetloop.core.hub import Acknowledgement
from fleetloop.core.ids import is_id
from fleetloop.core.turns import Turns
from fleetloop.hub.experience import Experience
from fleetloop.hub.storage.objects import Arrived, Incoming, ObjectStore, Part, Place, check_size

PART = "uploads"
SWEEPS = 24
"""Looks for abandoned uploads within the time after which they are."""

NOT_ABOUT_THE_EPISODE = frozenset({401, 403})  # its courier tries on, and need not send all of it each time

CheckRobot = Callable[[str], None]


class Uploads:
    """Episodes on their way in. Safe to call from several threads.

    Attributes:
        alarms: why abandoned uploads stay; empty if they don't.
    """

    def __init__(
        self, experience: Experience, objects: ObjectStore, clock: Clock, *, max_bytes: int, keep_s: float
    ) -> None:
        """`max_bytes`: of the largest episode. `keep_s`: real seconds after which an abandoned upload is forgotten."""
        self._experience, self._objects, self._clock = experience, objects, clock
        self._max_bytes, self._keep_s = max_bytes, keep_s
        self.alarms, self._due = Alarms(), clock.now()
        self._turns = Turns()

    def step(self, now: float) -> float:
        """Forget abandoned uploads if that is due at `now` (clock seconds); returns when to call again."""
        if now < self._due:
            return self._due
        self._due = now + self._keep_s / SWEEPS
        try:
            self._objects.sweep(self._clock.wall() - self._keep_s)
        except HubUnavailable as error:
            self.alarms.set(PART, str(error))
        else:
            self.alarms.clear(PART)
        return self._due

    def incoming(self) -> Incoming:
        """Where an episode's bytes may be written as they arrive, in one go."""
        return self._objects.incoming(self._max_bytes)

    def take(self, id: str, data: bytes, hash: str, check_robot: CheckRobot) -> Acknowledgement:
        """Take what has come already. Raises as `Experience.accept`."""
        with self.incoming() as incoming:
            incoming.write(data)
            return self.accept(id, incoming, hash, check_robot)

    def accept(self, id: str, incoming: Incoming, hash: str, check_robot: CheckRobot) -> Acknowledgement:
        """Take what was written. Raises as `Experience.accept`."""
        return self._experience.accept(id, incoming.finish(), hash, check_robot=check_robot)

    def begin(self, id: str, hash: str, size: int) -> Acknowledgement | Place:
        """Where the episode's bytes are to go; its acknowledgement if the hub has it.

        Raises:
            EpisodeInvalid: for what is no id or no hash.
            HubRefused: 409 if the id is known with other bytes, 413 if they are too many.
        """
        key = _key(id, hash)
        check_size(size, self._max_bytes)
        if known := self._experience.known(id, hash):
            return known
        return self._objects.begin(key, size)

    def append(self, id: str, hash: str, offset: int) -> Part:
        """Take the bytes from `offset` on. Raises as `ObjectStore.append`."""
        return self._objects.append(_key(id, hash), offset, self._max_bytes)

    def commit(self, id: str, hash: str, check_robot: CheckRobot) -> Acknowledgement:
        """Take what was uploaded. An episode that is refused is forgotten; not where another caller might bring it.

        Raises:
            HubUnavailable: if the parts of the upload don't make up the episode; it has to be sent anew.
            As `Experience.accept`.
        """
        key = _key(id, hash)
        with self._turns.of(id):  # who has lost patience with one request sends another
            known = self._experience.known(id, hash)
            if known is None:
                return self._commit(id, key, hash, check_robot)
        self._objects.discard(key)  # somebody sent it twice
        return known

    def _commit(self, id: str, key: str, hash: str, check_robot: CheckRobot) -> Acknowledgement:
        try:
            with self._objects.collect(key, self._max_bytes) as arrived:
                acknowledged = self._accept_parts(id, arrived, hash, check_robot)
        except HubUnavailable:
            raise  # what has come stays
        except FleetLoopError as error:
            if getattr(error, "status", None) not in NOT_ABOUT_THE_EPISODE:
                self._objects.discard(key)
            raise
        self._objects.discard(key)
        return acknowledged

    def _accept_parts(self, id: str, arrived: Arrived, hash: str, check_robot: CheckRobot) -> Acknowledgement:
        if arrived.hash != hash:  # a power cut may have torn the first part; the sender's file is not to blame
            self._objects.discard(_key(id, hash))
            raise HubUnavailable("upload", f"hashes to {arrived.hash}, not to {hash}", "send it anew")
        return self._experience.accept(id, arrived, hash, check_robot=check_robot)


def _key(id: str, hash: str) -> str:
    if not is_id(id):
        raise EpisodeInvalid("id", f"{id!r} is no ULID")
    if len(hash) != 64 or not set(hash) <= set(string.hexdigits.lower()):
        raise EpisodeInvalid("hash", f"{hash!r} is no blake3 in hexadecimal")
    return f"{id}/{hash}"
