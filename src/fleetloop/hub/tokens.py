"""Who may do what: a token per robot, learner or operator, of which the hub keeps the hash alone."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from blake3 import blake3

from fleetloop.core.clock import Clock
from fleetloop.core.errors import HubRefused
from fleetloop.hub.catalog.catalog import Catalog

PREFIX = "fleetloop"  # so that a secret scanner, and a person, knows one when it sees one
SECRET_BYTES = 32  # too many to guess, so a plain hash is enough


class Scope(StrEnum):
    """What its holder is."""

    ROBOT = "robot"  # its episodes and beats up, releases down
    LEARNER = "learner"  # experience down, releases up
    OPERATOR = "operator"  # a person: looks at everything, says something about episodes, promotes releases


EVERYBODY = frozenset(Scope)


@dataclass(frozen=True)
class Token:
    """Attributes:
    id: by which it is revoked.
    robots: for which robots it may speak; empty: for all. A courier's token names those of its host.
    note: for people.
    issued_wall_s, revoked_wall_s: Unix time; None: it is valid.
    """

    id: str
    scope: Scope
    robots: tuple[str, ...] = ()
    note: str = ""
    issued_wall_s: float = 0.0
    revoked_wall_s: float | None = None

    def check_scope(self, needed: frozenset[Scope]) -> None:
        """Raises HubRefused (403) naming the scope that is needed."""
        if self.scope not in needed:
            wanted = " or ".join(sorted(needed))
            raise HubRefused("token", f"{self.id} has the scope {self.scope}; this needs {wanted}", status=403)

    def check_robot(self, robot: str) -> None:
        """Raises HubRefused (403) if it does not speak for this robot."""
        if self.robots and robot not in self.robots:
            spoken_for = ", ".join(self.robots)
            raise HubRefused("token", f"{self.id} speaks for {spoken_for}, not for {robot}", status=403)


class Tokens:
    """Issued, looked up and revoked, in the catalog."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog, self._clock = catalog, clock

    def issue(self, scope: Scope, robots: Sequence[str] = (), note: str = "") -> tuple[Token, str]:
        """A new token and its secret, which nobody can be shown again."""
        token = Token(secrets.token_hex(4), scope, tuple(robots), note, self._clock.wall())
        secret = f"{PREFIX}_{token.id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        with self._catalog.writing() as records:
            records.members.add_token(token.id, _hash(secret), {**asdict(token), "scope": token.scope.value})
        return token, secret

    def all(self) -> list[Token]:
        """Oldest first."""
        with self._catalog.reading() as records:
            return sorted(map(_token, records.members.tokens()), key=lambda token: token.issued_wall_s)

    def revoke(self, id: str) -> Token:
        """From now on it is worth nothing. Raises HubRefused (404) for an unknown one."""
        with self._catalog.writing() as records:
            row = next((row for row in records.members.tokens() if row["id"] == id), None)
            if row is None:
                raise HubRefused("token", f"{id!r} is not known here", "`fleetloop tokens ls` lists them", status=404)
            if row["revoked_wall_s"] is None:
                row = {**row, "revoked_wall_s": self._clock.wall()}
                records.members.change_token(id, row)
            return _token(row)

    def holder(self, secret: str) -> Token:
        """Raises HubRefused (401) for a secret that is missing, unknown or revoked."""
        (found,) = self.holders([secret])
        if isinstance(found, HubRefused):
            raise found
        return found

    def holders(self, secrets: Sequence[str]) -> Sequence[Token | HubRefused]:
        """As `holder`, of many at the cost of one; what it raises is among them."""
        hashes = {secret: _hash(secret) for secret in secrets}
        with self._catalog.reading() as records:
            rows = records.members.tokens_by(hashes.values())
        return [_judged(secret, rows.get(hashes[secret])) for secret in secrets]


def _judged(secret: str, row: Any) -> Token | HubRefused:
    remedy = (
        "`fleetloop tokens issue` on the hub's machine makes one; put it into the file of `hub_token_file`, or into "
        "FLEETLOOP_TOKEN, and start this anew"
    )
    if not secret:
        return HubRefused("token", "is missing", remedy, status=401)
    if row is None:
        return HubRefused("token", "is not known here", remedy, status=401)
    token = _token(row)
    if token.revoked_wall_s is not None:
        return HubRefused("token", f"{token.id} was revoked", remedy, status=401)
    return token


def _hash(secret: str) -> str:
    return blake3(secret.encode()).hexdigest()


def _token(row: Any) -> Token:
    return Token(**{**row, "scope": Scope(row["scope"]), "robots": tuple(row["robots"])})
